//! The text of each window: greedy first, then at rising temperatures where that went wrong.
#![forbid(unsafe_code)]

use super::ahead::Ahead;
use super::halt::{Halt, OrHalt, Step};
use crate::backend::{Encoded, GoOn, SpeechSession};
use crate::error::{Error, ErrorKind};
use crate::sampling::Rng;
use crate::speech::pick::{self, pick};
use crate::speech::quality::{avg_logprob, compression_ratio, Thresholds};
use crate::speech::repetition::is_looping;
use crate::speech::segments::Decoded;
use crate::speech::{Rules, Vocabulary};

/// Prompt tokens computed at a time: their logits take 200 MB.
const MOST_PROMPT_TOKENS: usize = 1_024;

/// What was decoded from one window.
#[derive(Debug, Clone, Default)]
pub(super) struct Text {
    pub(super) decoded: Decoded,
    /// The log-probabilities of its tokens.
    pub(super) logprobs: Vec<f32>,
    /// The sum of them, and that of the end.
    sum: f64,
    ended: bool,
    looped: bool,
}

impl Text {
    /// The probability of each of `tokens`, which come in this order among the text's own.
    pub(super) fn probabilities(&self, tokens: &[u32]) -> Vec<f32> {
        let mut own = self.decoded.tokens.iter().zip(&self.logprobs);
        let mut find = |token: &u32| own.find(|(own, _)| *own == token);
        tokens.iter().map(|token| find(token).map_or(0.0, |(_, logprob)| logprob.exp())).collect()
    }
}

/// How texts are decoded; one for a transcription.
pub(super) struct Decoding<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) rules: Rules,
    pub(super) thresholds: Thresholds,
    pub(super) temperatures: Vec<f32>,
    /// Draws at a temperature above 0, of which the likeliest is kept.
    pub(super) best_of: usize,
    pub(super) rng: Rng,
}

/// What texts are decoded with: the session, the prompt that all of them follow, and the windows that
/// are encoded meanwhile.
pub(super) struct Decoder<'a> {
    pub(super) session: &'a mut dyn SpeechSession,
    pub(super) prompt: &'a [u32],
    pub(super) ahead: &'a mut Ahead,
    pub(super) samples: &'a [f32],
    /// Windows to encode meanwhile at most.
    pub(super) limit: usize,
    pub(super) go_on: GoOn<'a>,
}

impl Decoding<'_> {
    /// The text of each of `windows` at the first temperature.
    pub(super) fn first(
        &mut self,
        decoder: &mut Decoder<'_>,
        windows: &[&Encoded],
    ) -> Step<Vec<Text>> {
        let first = self.temperatures.first().copied().unwrap_or(0.0);
        if first > 0.0 {
            let mut texts = Vec::with_capacity(windows.len());
            for window in windows {
                texts.push(self.best_draw(decoder, window, first)?);
            }
            Ok(texts)
        } else {
            self.rows(decoder, windows, 0.0)
        }
    }

    /// `text`, or while it is bad, one at the next temperature.
    pub(super) fn settled(
        &mut self,
        decoder: &mut Decoder<'_>,
        mut text: Text,
        window: &Encoded,
    ) -> Step<Text> {
        for index in 1..self.temperatures.len() {
            if !self.is_bad(&text) {
                break;
            }
            text = self.best_draw(decoder, window, self.temperatures[index])?;
        }
        Ok(text)
    }

    fn is_bad(&self, text: &Text) -> bool {
        let Decoded { compression_ratio, avg_logprob, no_speech_prob, .. } = text.decoded;
        text.looped
            || self.thresholds.needs_fallback(compression_ratio, avg_logprob, no_speech_prob)
    }

    /// The likeliest of some draws at `temperature`.
    fn best_draw(
        &mut self,
        decoder: &mut Decoder<'_>,
        window: &Encoded,
        temperature: f32,
    ) -> Step<Text> {
        let windows = vec![window; self.best_of.max(1)];
        let texts = self.rows(decoder, &windows, temperature)?;
        // A text that repeats itself is likely too: any good one comes before it.
        let better = |a: &Text, b: &Text| {
            let likelier = a.decoded.avg_logprob.total_cmp(&b.decoded.avg_logprob);
            self.is_bad(b).cmp(&self.is_bad(a)).then(likelier)
        };
        Ok(texts.into_iter().max_by(better).unwrap_or_default())
    }

    /// A text for each of `windows`; so many side by side as fit, for the model gives logits for each
    /// token of each prompt.
    fn rows(
        &mut self,
        decoder: &mut Decoder<'_>,
        windows: &[&Encoded],
        temperature: f32,
    ) -> Step<Vec<Text>> {
        let most = (MOST_PROMPT_TOKENS / decoder.prompt.len().max(1)).max(1);
        let mut texts = Vec::with_capacity(windows.len());
        for some in windows.chunks(most) {
            texts.extend(self.side_by_side(decoder, some, temperature)?);
        }
        Ok(texts)
    }

    fn side_by_side(
        &mut self,
        decoder: &mut Decoder<'_>,
        windows: &[&Encoded],
        temperature: f32,
    ) -> Step<Vec<Text>> {
        let decoded = Decoded { temperature, ..Decoded::default() };
        let mut texts = vec![Text { decoded, ..Text::default() }; windows.len()];
        decoder.session.begin_texts(windows)?;
        decoder.session.decode(&decoder.prompt.repeat(windows.len()), decoder.go_on)?.or_halt()?;
        self.hear_silence(decoder, &mut texts)?;
        let mut last = decoder.prompt.len() - 1;
        let limit = self.most_tokens(decoder.prompt.len());
        let eot = self.vocabulary.special().eot;
        loop {
            for (row, text) in texts.iter_mut().enumerate().filter(|(_, text)| !text.ended) {
                self.advance(decoder.session.logits(row, last)?, text, limit)?;
            }
            if texts.iter().all(|text| text.ended) {
                break;
            }
            decoder.ahead.pump(decoder.session, decoder.samples, decoder.limit)?;
            // A row that has ended goes along; its cross-attention cannot be taken out.
            let next = |text: &Text| match text.ended {
                true => eot,
                false => text.decoded.tokens.last().copied().unwrap_or(eot),
            };
            let tokens: Vec<u32> = texts.iter().map(next).collect();
            decoder.session.decode(&tokens, decoder.go_on)?.or_halt()?;
            last = 0;
        }
        for text in &mut texts {
            let decoded = &mut text.decoded;
            decoded.avg_logprob = avg_logprob(text.sum, decoded.tokens.len());
            let content = self.vocabulary.decode(&decoded.tokens);
            decoded.compression_ratio = compression_ratio(content.trim());
        }
        Ok(texts)
    }

    /// Notes how likely each window holds no speech, which the token after the start tells.
    fn hear_silence(&self, decoder: &mut Decoder<'_>, texts: &mut [Text]) -> Step<()> {
        let special = self.vocabulary.special();
        let start = decoder.prompt.iter().rposition(|&token| token == special.sot).unwrap_or(0);
        for (row, text) in texts.iter_mut().enumerate() {
            let logits = decoder.session.logits(row, start)?;
            text.decoded.no_speech_prob = pick::probability(logits, special.no_speech);
        }
        Ok(())
    }

    /// Tokens after a prompt of `prompt` tokens: half of the decoder's positions, as it was trained.
    fn most_tokens(&self, prompt: usize) -> usize {
        let positions = self.vocabulary.sizes().max_target_positions;
        (positions / 2).min(positions.saturating_sub(prompt)).max(1)
    }

    /// Picks the next token of `text`.
    fn advance(&mut self, logits: &mut [f32], text: &mut Text, limit: usize) -> Step<()> {
        self.rules.apply(logits, &text.decoded.tokens);
        let Some(picked) = pick(logits, text.decoded.temperature, &mut self.rng) else {
            let message = "the model computed no usable logits; its files may be damaged";
            return Err(Halt::from(Error::new(ErrorKind::Backend, message)));
        };
        text.sum += f64::from(picked.logprob);
        if picked.token == self.vocabulary.special().eot {
            text.ended = true;
            return Ok(());
        }
        text.decoded.tokens.push(picked.token);
        text.logprobs.push(picked.logprob);
        // At the last temperature there is nothing better to come.
        let is_last = self.temperatures.last().is_none_or(|&last| text.decoded.temperature >= last);
        text.looped = !is_last && is_looping(self.vocabulary, &text.decoded.tokens);
        text.ended = text.looped || text.decoded.tokens.len() >= limit;
        Ok(())
    }
}
