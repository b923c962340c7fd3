//! One transcription from audio to segments: skips silence, finds the language, goes through the
//! windows, tells each segment as it is decided.
//!
//! Without voice activity detection the windows follow each other as in OpenAI's `transcribe`
//! (<https://github.com/openai/whisper>): each begins where the text of the one before ended, and may
//! be given that text. With it the audio is cut at pauses first, and several windows are decoded side
//! by side, as in faster-whisper's batched pipeline.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;

use super::ahead::Ahead;
use super::halt::{Halt, OrHalt, Step};
use super::options::{decoding, span_options};
use super::texts::{Decoder, Decoding, Text};
use super::watch::Watch;
use super::Inbox;
use super::{spoken_task, SpeechTask, Transcript};
use crate::audio::{self, FRAME_SAMPLES, WINDOW_SAMPLES};
use crate::backend::{Encoded, LoadedSpeech, SpeechSession};
use crate::engine::event::{Body, Ending, SegmentEvent};
use crate::engine::job::{Outcome, StopCause};
use crate::engine::signal::Signal;
use crate::error::Result;
use crate::request::TranscribeRequest;
use crate::speech::attention::Attention;
use crate::speech::segments::{split, Extent, Split};
use crate::speech::spans::spans;
use crate::speech::windows::{windows, Window};
use crate::speech::words::{self, Heard};
use crate::speech::{format, pick, prompt, Language, Segment, Vocabulary};

/// Windows decoded side by side, where the request says nothing: a decoder's step for eight rows takes
/// three times as long as for one.
const BATCH: usize = 8;
/// Below this magnitude (-80 dB) a whole window is silence, and nothing is asked of the model.
const SILENCE: f32 = 1e-4;
/// A text that needed a temperature above this is no good guide for the next one.
const UNSURE: f32 = 0.5;

pub(super) struct Transcription<'a> {
    watch: Watch<'a>,
    has_vad: bool,
    vocabulary: &'a Vocabulary,
    session: &'a mut dyn SpeechSession,
    request: TranscribeRequest,
    audio: Option<audio::Input>,
    samples: Vec<f32>,
    ahead: Ahead,
    decoding: Decoding<'a>,
    /// The language, once it is known.
    language: Option<&'a Language>,
    hotwords: Vec<u32>,
    /// The request's prompt, then the text so far: what the next window's text follows.
    previous: Vec<u32>,
    /// Windows follow each other, so that a text is the prompt of the next one.
    follows: bool,
    /// Where the last word ended, in seconds.
    speech_end: f64,
    transcript: Transcript,
}

impl<'a> Transcription<'a> {
    pub(super) fn new(
        loaded: &'a LoadedSpeech,
        task: &mut SpeechTask,
        session: &'a mut dyn SpeechSession,
        inbox: &'a Inbox<'a>,
        signal: &'a Signal,
    ) -> Result<Self> {
        let vocabulary = &*loaded.vocabulary;
        let request = std::mem::take(&mut task.request);
        let encode =
            |text: &Option<String>| prompt::encode(vocabulary, text.as_deref().unwrap_or_default());
        let language = match &request.language {
            Some(language) => Some(vocabulary.language(language)?),
            // A model of English alone detects nothing.
            None if !vocabulary.is_multilingual() => vocabulary.language("en").ok(),
            None => None,
        };
        let mut transcript = Transcript::new(&request);
        transcript.set_language(language, None);
        Ok(Self {
            watch: Watch { job: Arc::clone(&task.job), inbox, signal },
            has_vad: loaded.has_vad,
            vocabulary,
            session,
            audio: task.audio.take(),
            samples: Vec::new(),
            ahead: Ahead::new(loaded.n_mels),
            decoding: decoding(vocabulary, &request),
            language,
            hotwords: encode(&request.hotwords)?,
            previous: encode(&request.prompt)?,
            follows: true,
            speech_end: 0.0,
            transcript,
            request,
        })
    }

    /// Does it all, and ends the job. Whether the session can be used again.
    pub(super) fn run(mut self) -> bool {
        let result = self.transcribe();
        let is_sound = !matches!(result, Err(Halt::Failed(_)));
        let ending = match result {
            Ok(()) => {
                // Speech may have ended long before the audio.
                self.watch.tell_done(1.0);
                Ending::Done
            }
            Err(Halt::Failed(error)) => Ending::Failed(error),
            Err(Halt::Stopped) => {
                self.watch.job.stop_cause().map_or(Ending::Cancelled, StopCause::ending)
            }
        };
        let outcome = Outcome::Transcript(Box::new(self.transcript));
        self.watch.job.finish(ending, Some(outcome));
        self.session.end();
        is_sound
    }

    fn transcribe(&mut self) -> Step<()> {
        let Some(audio) = self.audio.take() else { return Ok(()) };
        let watch = self.watch.clone();
        let mut tell = |read: f32| {
            watch.tell_read(read);
            watch.goes_on()
        };
        let samples = audio::read(audio, &mut tell)?.or_halt()?;
        self.samples = samples;
        self.transcript.set_duration(self.samples.len() as f64 / f64::from(audio::SAMPLE_RATE));
        if !self.request.vad_filter.unwrap_or(self.has_vad) {
            return self.in_turn(0..self.samples.len());
        }
        let windows = self.speech()?;
        let is_short = self.samples.len() <= WINDOW_SAMPLES && self.request.vad_filter.is_none();
        match windows.is_empty() {
            true => Ok(()),
            // One window anyway, with all that is in it.
            false if is_short => self.in_turn(0..self.samples.len()),
            false => self.side_by_side(windows),
        }
    }

    /// Where there is speech, in windows cut at pauses.
    fn speech(&mut self) -> Step<Vec<Window>> {
        let watch = self.watch.clone();
        let go_on = || watch.goes_on();
        let probabilities = self.session.detect_speech(&self.samples, &go_on)?.or_halt()?;
        let options = span_options(&self.request.vad);
        let spans = spans(&probabilities, self.samples.len(), &options);
        Ok(windows(&spans, &probabilities, self.samples.len()))
    }

    /// Decodes windows that are known beforehand, some at a time.
    fn side_by_side(&mut self, windows: Vec<Window>) -> Step<()> {
        let batch = self.request.batch_size.map_or(BATCH, |size| size as usize);
        self.ahead.extend(windows);
        self.follows = false;
        while self.ahead.left() > 0 {
            let mut group: Vec<(Window, Encoded)> = Vec::with_capacity(batch);
            while group.len() < batch && self.ahead.left() > 0 {
                group.push(self.next_encoded()?);
            }
            let encoded: Vec<&Encoded> = group.iter().map(|(_, encoded)| encoded).collect();
            let texts = self.greedy(&encoded, batch)?;
            for ((window, encoded), text) in group.iter().zip(texts) {
                let text = self.settled(text, encoded)?;
                let split = self.take(window, encoded, text)?;
                if split.unfinished {
                    let rest = window.start_sample + split.advance as usize * FRAME_SAMPLES;
                    self.in_turn(rest..window.end_sample)?;
                }
                self.tell_progress(window.end_sample);
            }
        }
        Ok(())
    }

    /// Decodes `range` window by window, each from where the text of the one before ended.
    fn in_turn(&mut self, range: Range<usize>) -> Step<()> {
        let mut at = range.start;
        // Less than a frame is no speech.
        while at + FRAME_SAMPLES <= range.end {
            self.watch.goes_on().or_halt()?;
            let window =
                Window { start_sample: at, end_sample: range.end.min(at + WINDOW_SAMPLES) };
            at = if self.samples[window.samples()].iter().all(|sample| sample.abs() < SILENCE) {
                window.end_sample
            } else {
                let encoded = self.encode_now(&window)?;
                let text = self.greedy(&[&encoded], 0)?.pop().unwrap_or_default();
                let text = self.settled(text, &encoded)?;
                let split = self.take(&window, &encoded, text)?;
                at + split.advance as usize * FRAME_SAMPLES
            };
            self.tell_progress(at.min(range.end));
        }
        Ok(())
    }

    fn next_encoded(&mut self) -> Step<(Window, Encoded)> {
        let watch = self.watch.clone();
        self.ahead.next(self.session, &self.samples, &|| watch.goes_on())
    }

    fn encode_now(&mut self, window: &Window) -> Step<Encoded> {
        let watch = self.watch.clone();
        self.ahead.encode_now(self.session, &self.samples, window, &|| watch.goes_on())
    }

    /// The first texts of `windows`; `limit` more windows may be encoded meanwhile.
    fn greedy(&mut self, windows: &[&Encoded], limit: usize) -> Step<Vec<Text>> {
        if let (None, Some(first), true) =
            (self.language, windows.first(), self.vocabulary.is_multilingual())
        {
            self.detect_language(first)?;
        }
        self.decode(limit, |decoding, decoder| decoding.first(decoder, windows))
    }

    /// `text` of `window`, or a better one where it is bad.
    fn settled(&mut self, text: Text, window: &Encoded) -> Step<Text> {
        self.decode(0, |decoding, decoder| decoding.settled(decoder, text, window))
    }

    /// Decodes what `decode` asks for, after what was said so far; `limit` more windows may be encoded
    /// meanwhile.
    fn decode<T>(
        &mut self,
        limit: usize,
        decode: impl FnOnce(&mut Decoding<'a>, &mut Decoder<'_>) -> Step<T>,
    ) -> Step<T> {
        let prompt = self.prompt()?;
        let watch = self.watch.clone();
        let mut decoder = Decoder {
            session: self.session,
            prompt: &prompt,
            ahead: &mut self.ahead,
            samples: &self.samples,
            limit,
            go_on: &|| watch.goes_on(),
        };
        decode(&mut self.decoding, &mut decoder)
    }

    /// What the next text follows.
    fn prompt(&self) -> Result<Vec<u32>> {
        let (start, timestamps) = (self.start()?, self.request.timestamps);
        let before = (&self.hotwords, &self.previous);
        Ok(prompt::build(self.vocabulary, &start, timestamps, before.0, before.1))
    }

    fn detect_language(&mut self, window: &Encoded) -> Step<()> {
        let watch = self.watch.clone();
        self.session.begin_texts(&[window])?;
        let start = [self.vocabulary.special().sot];
        self.session.decode(&start, &|| watch.goes_on())?.or_halt()?;
        let logits = self.session.logits(0, 0)?;
        if let Some(&(language, probability)) = pick::languages(self.vocabulary, logits).first() {
            self.language = Some(language);
            self.transcript.set_language(Some(language), Some(probability));
            let code = language.code.clone();
            self.watch.push(Body::Language { code, probability })?;
        }
        Ok(())
    }

    /// Makes segments of a window's text and tells them.
    fn take(&mut self, window: &Window, encoded: &Encoded, text: Text) -> Step<Split> {
        let extent = window.extent();
        let decoded = &text.decoded;
        if self.decoding.thresholds.is_silence(decoded.avg_logprob, decoded.no_speech_prob) {
            return Ok(Split { segments: Vec::new(), advance: extent.frames, unfinished: false });
        }
        let first_id = self.transcript.segments.len() as u32;
        let mut split = split(self.vocabulary, decoded, extent, first_id);
        if self.request.words {
            self.time_words(encoded, &text, extent, &mut split.segments)?;
            split.skip_timed_words(extent);
        }
        if self.follows {
            self.remember(&split.segments, decoded.temperature);
        }
        for segment in std::mem::take(&mut split.segments) {
            self.tell(segment)?;
        }
        Ok(split)
    }

    /// Gives the segments of a window their words, by the decoder's attention to the window.
    fn time_words(
        &mut self,
        encoded: &Encoded,
        text: &Text,
        extent: Extent,
        segments: &mut [Segment],
    ) -> Step<()> {
        let tokens = words::text_tokens(self.vocabulary, segments);
        if tokens.is_empty() {
            return Ok(());
        }
        let start = self.start()?;
        let (fed, rows) = words::input(self.vocabulary, &start, &tokens);
        let watch = self.watch.clone();
        // Two frames of the log-mel make one of the encoder.
        let frames = extent.frames.div_ceil(2) as usize;
        let scores = self.session.align(encoded, &fed, frames, &|| watch.goes_on())?.or_halt()?;
        let heard = Heard {
            attention: Attention {
                heads: scores.heads,
                tokens: scores.tokens,
                frames: scores.frames,
                weights: &scores.values,
            },
            rows: &rows,
            probabilities: &text.probabilities(&tokens),
        };
        let (language, end) = (self.language, self.speech_end);
        self.speech_end = words::add(self.vocabulary, language, segments, extent, &heard, end)?;
        Ok(())
    }

    /// The tokens that begin a text in this language and for this task.
    fn start(&self) -> Result<Vec<u32>> {
        prompt::start(self.vocabulary, self.language, spoken_task(self.request.task))
    }

    /// Keeps the text for the next window's prompt, where it is a good guide.
    fn remember(&mut self, segments: &[Segment], temperature: f32) {
        if self.request.condition_on_previous_text && temperature <= UNSURE {
            let limit = self.vocabulary.prompt_limit();
            self.previous.extend(segments.iter().flat_map(|segment| &segment.tokens));
            self.previous.drain(..self.previous.len().saturating_sub(limit));
        } else {
            self.previous.clear();
        }
    }

    fn tell(&mut self, segment: Segment) -> Step<()> {
        let event = SegmentEvent {
            text: segment.text.clone(),
            start: segment.start,
            end: segment.end,
            avg_logprob: segment.avg_logprob,
            json: format::segment_json(&segment).to_string(),
        };
        // In the result even where its event finds no reader any more.
        self.transcript.segments.push(segment);
        self.watch.push(Body::Segment(Box::new(event)))
    }

    fn tell_progress(&self, samples: usize) {
        let done = samples as f64 / self.samples.len().max(1) as f64;
        self.watch.tell_done(done as f32);
    }
}
