//! A job of texts on its way to a worker, and the tokens of each text.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::vector::Recipe;
use crate::backend::{Output, Pairing, Tokenizer};
use crate::engine::intake::Work;
use crate::engine::job::Job;
use crate::engine::prompt;
use crate::error::{Error, Result};
use crate::request::EmbedInput;

/// Bytes of a text for each token of context: far more than any language takes, yet so few that
/// tokenising what is too long anyway takes no time.
const BYTES_PER_TOKEN: usize = 64;

/// Texts to compute. Dropped unfinished, it ends its job: no job is left without an end.
pub(in crate::engine) struct EmbedTask {
    pub(super) job: Arc<Job>,
    pub(super) model: String,
    pub(super) texts: Texts,
    /// Whether texts that are too long are cut.
    pub(super) truncate: bool,
}

/// What is computed of a job's texts.
pub(super) enum Texts {
    /// A vector of each.
    Vectors { inputs: Vec<EmbedInput>, recipe: Recipe },
    /// A score of each document.
    Scores { query: String, documents: Vec<String>, top_n: Option<usize>, return_documents: bool },
}

impl Drop for EmbedTask {
    fn drop(&mut self) {
        self.job.abandon();
    }
}

impl Work for EmbedTask {
    fn job(&self) -> &Arc<Job> {
        &self.job
    }
}

/// What texts are tokenised for.
pub(super) struct Reader<'a> {
    pub(super) tokenizer: &'a dyn Tokenizer,
    pub(super) output: &'a Output,
    /// Tokens of a text at most.
    pub(super) n_ctx: usize,
}

/// A text's tokens, and whether it was cut for them.
pub(super) type Tokens = (Vec<u32>, bool);

impl EmbedTask {
    /// How many texts there are.
    pub(super) fn count(&self) -> usize {
        match &self.texts {
            Texts::Vectors { inputs, .. } => inputs.len(),
            Texts::Scores { documents, .. } => documents.len(),
        }
    }

    /// Bytes of text number `index`.
    pub(super) fn bytes(&self, index: usize) -> usize {
        match &self.texts {
            Texts::Vectors { inputs, .. } => match &inputs[index] {
                EmbedInput::Text(text) => text.len(),
                EmbedInput::Tokens(tokens) => size_of_val(&tokens[..]),
            },
            Texts::Scores { query, documents, .. } => query.len() + documents[index].len(),
        }
    }

    /// The tokens of text number `index`.
    pub(super) fn tokens(&self, index: usize, reader: &Reader<'_>) -> Result<Tokens> {
        match &self.texts {
            Texts::Vectors { inputs, .. } => {
                // A request of one text need not have an array.
                let path =
                    if inputs.len() == 1 { "input".into() } else { format!("input[{index}]") };
                reader.text(&inputs[index], &path, self.truncate)
            }
            Texts::Scores { query, documents, .. } => {
                let path = format!("documents[{index}]");
                reader.pair(query, &documents[index], &path, self.truncate)
            }
        }
    }
}

impl Reader<'_> {
    fn text(&self, input: &EmbedInput, path: &str, truncate: bool) -> Result<Tokens> {
        let (mut tokens, was_cut, tail) = match input {
            EmbedInput::Tokens(tokens) => (tokens.clone(), false, 0),
            EmbedInput::Text(text) => {
                let (text, was_cut) = self.within_bytes(text, path, truncate)?;
                let tokens = self.tokenize(text, true, path)?;
                let tail = self.tail(&tokens)?;
                (tokens, was_cut, tail)
            }
        };
        if tokens.is_empty() {
            return Err(Error::invalid_request(path, "has no tokens; give a text"));
        }
        let length = tokens.len();
        if length > self.n_ctx {
            self.check_may_cut(path, length, truncate)?;
            // What the model wants behind a text stays behind it.
            tokens.drain(self.n_ctx.saturating_sub(tail)..length - tail);
            tokens.truncate(self.n_ctx);
        }
        Ok((tokens, was_cut || length > self.n_ctx))
    }

    fn pair(&self, query: &str, document: &str, path: &str, truncate: bool) -> Result<Tokens> {
        let (query, query_was_cut) = self.within_bytes(query, "query", truncate)?;
        let (document, was_cut) = self.within_bytes(document, path, truncate)?;
        let was_cut = was_cut || query_was_cut;
        let (before, between, after) = match self.output {
            Output::Score(Pairing::Tokens { before, between, after }) => (before, between, after),
            Output::Score(Pairing::Template(template)) => {
                let text = fill(template, query, document);
                prompt::check_words(&text, path)?;
                // The template spells out all special tokens.
                let tokens = self.tokenizer.tokenize(&text, false, true)?;
                let (length, most) = (tokens.len(), self.n_ctx);
                if length == 0 || length > most {
                    // Cut, it would lose its end along with the document's.
                    let message = format!("has {length} tokens with query and template, the model takes 1 to {most}; change its length, or load with a larger n_ctx");
                    return Err(Error::invalid_request(path, message));
                }
                return Ok((tokens, was_cut));
            }
            Output::States { .. } => return Err(Error::unsupported("query", "needs a reranker")),
        };
        let query = self.tokenize(query, false, "query")?;
        let mut document = self.tokenize(document, false, path)?;
        let around = before.len() + query.len() + between.len() + after.len();
        let Some(room) = self.n_ctx.checked_sub(around) else {
            let message = format!(
                "has {} tokens, the model takes {} with the document; shorten it",
                query.len(),
                self.n_ctx
            );
            return Err(Error::invalid_request("query", message));
        };
        let is_too_long = document.len() > room;
        if is_too_long {
            self.check_may_cut(path, around + document.len(), truncate)?;
            document.truncate(room);
        }
        let tokens = [before, &query, between, &document, after].map(Vec::as_slice).concat();
        if tokens.is_empty() {
            return Err(Error::invalid_request(path, "has no tokens; give a text"));
        }
        Ok((tokens, was_cut || is_too_long))
    }

    fn tokenize(&self, text: &str, special: bool, path: &str) -> Result<Vec<u32>> {
        prompt::check_words(text, path)?;
        self.tokenizer.tokenize(text, special, false)
    }

    /// How many of the last `tokens` are none of the text's own.
    fn tail(&self, tokens: &[u32]) -> Result<usize> {
        if tokens.len() <= self.n_ctx {
            return Ok(0);
        }
        let empty = self.tokenizer.tokenize("", true, false)?;
        let alike = tokens.iter().rev().zip(empty.iter().rev()).take_while(|(a, b)| a == b);
        Ok(alike.count().min(self.n_ctx))
    }

    /// `text`, or as much of it as could matter.
    fn within_bytes<'t>(
        &self,
        text: &'t str,
        path: &str,
        truncate: bool,
    ) -> Result<(&'t str, bool)> {
        let most = self.n_ctx * self.tokenizer.longest_piece().max(BYTES_PER_TOKEN);
        if text.len() <= most {
            return Ok((text, false));
        }
        if !truncate {
            let message = format!(
                "has {} bytes, more than {} tokens can hold; shorten it, or set truncate",
                text.len(),
                self.n_ctx
            );
            return Err(Error::invalid_request(path, message));
        }
        let end = (0..=most).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        Ok((&text[..end], true))
    }

    fn check_may_cut(&self, path: &str, length: usize, truncate: bool) -> Result<()> {
        if truncate || length <= self.n_ctx {
            return Ok(());
        }
        let message = format!(
            "has {length} tokens, the model takes {}; shorten it, set truncate, or load with a larger n_ctx",
            self.n_ctx
        );
        Err(Error::invalid_request(path, message))
    }
}

/// `template` with both texts in place; what they say of places is text.
fn fill(template: &str, query: &str, document: &str) -> String {
    let parts = template.split("{query}").map(|part| part.replace("{document}", document));
    parts.collect::<Vec<_>>().join(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as tokens; 256 before and 257 behind a text.
    struct Bytes;

    impl Tokenizer for Bytes {
        fn tokenize(&self, text: &str, special: bool, _parse: bool) -> Result<Vec<u32>> {
            let own = text.bytes().map(u32::from);
            Ok(match special {
                true => [256].into_iter().chain(own).chain([257]).collect(),
                false => own.collect(),
            })
        }

        fn piece(&self, token: u32, _special: bool) -> Result<Vec<u8>> {
            Ok(vec![token as u8])
        }

        fn n_tokens(&self) -> usize {
            258
        }

        fn longest_piece(&self) -> usize {
            1
        }

        fn adds_space(&self) -> bool {
            false
        }
    }

    fn reader(output: &Output) -> Reader<'_> {
        Reader { tokenizer: &Bytes, output, n_ctx: 6 }
    }

    fn pairs() -> Output {
        let (before, between, after) = (vec![256], vec![257], vec![257]);
        Output::Score(Pairing::Tokens { before, between, after })
    }

    #[test]
    fn a_text_that_is_cut_keeps_what_stands_behind_it() {
        let output = pairs();
        let reader = reader(&output);
        let read =
            |text: &str, truncate| reader.text(&EmbedInput::Text(text.into()), "x", truncate);
        assert_eq!(read("abcd", false).expect("fits"), (vec![256, 97, 98, 99, 100, 257], false));
        assert_eq!(read("abcde", true).expect("cut"), (vec![256, 97, 98, 99, 100, 257], true));
        let long = "ab".repeat(3 * BYTES_PER_TOKEN + 1);
        assert_eq!(read(&long, true).expect("cut").0, [256, 97, 98, 97, 98, 257]);
        let error = read("abcde", false).expect_err("too long");
        assert!(error.message().starts_with("x: has 7 tokens, the model takes 6"), "{error}");
        let error = read(&long, false).expect_err("too long");
        assert!(error.message().contains("386 bytes"), "{error}");
        let tokens = EmbedInput::Tokens((1..9).collect());
        assert_eq!(reader.text(&tokens, "x", true).expect("cut"), ((1..7).collect(), true));
    }

    #[test]
    fn of_a_pair_the_document_is_cut() {
        let output = pairs();
        let reader = reader(&output);
        assert_eq!(reader.pair("a", "b", "x", false).expect("fits").0, [256, 97, 257, 98, 257]);
        let cut = reader.pair("a", "bcd", "x", true).expect("cut");
        assert_eq!(cut, (vec![256, 97, 257, 98, 99, 257], true));
        let error = reader.pair("a", "bcd", "x", false).expect_err("too long");
        assert!(error.message().starts_with("x: has 7 tokens"), "{error}");
        let error = reader.pair("abcd", "", "x", true).expect_err("too long");
        assert!(error.message().starts_with("query: has 4 tokens"), "{error}");
    }

    #[test]
    fn a_template_takes_texts_as_they_are() {
        let text = fill("<{query}|{document}>", "{document}", "{query}");
        assert_eq!(text, "<{document}|{query}>");
    }
}
