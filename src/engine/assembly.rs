//! From a model that was just loaded to what callers hold of it, and what its worker does with it.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::adapters::Adapters;
use super::conversation::Conversation;
use super::drafter::Drafter;
use super::embedder::Embedder;
use super::errands::Errands;
use super::generator::{Generator, Parts};
use super::grammars::Grammars;
use super::model::{Setup, Skill};
use super::scheduler::Kit;
use super::service::{EmbeddingService, Service, SpeechService, TextService};
use super::speculation::Drafts;
use super::speech::Transcriber;
use super::states::States;
use super::tokens::Words;
use crate::backend::{Loaded, LoadedEmbedding, LoadedSpeech, LoadedText, ModelInfo};
use crate::error::Result;
use crate::request::LoadOptions;

/// The two sides of a loaded model.
pub(super) struct Assembled {
    /// What is known about it.
    pub(super) info: ModelInfo,
    /// The callers' side.
    pub(super) skill: Skill,
    /// Its vocabulary, for callers; where it has one.
    pub(super) words: Option<Words>,
    /// The worker's side.
    pub(super) service: Box<dyn Service>,
}

/// Makes both sides of `loaded`; `notice` is told what is not as `options` ask.
pub(super) fn assemble(
    loaded: Loaded,
    options: &LoadOptions,
    setup: &Setup,
    errands: Arc<Errands>,
    notice: &mut dyn FnMut(String),
) -> Result<Assembled> {
    match loaded {
        Loaded::Text(loaded) => text(*loaded, options, setup, errands, notice),
        Loaded::Speech(loaded) => Ok(speech(loaded, setup)),
        Loaded::Embedding(loaded) => embedding(*loaded, setup),
    }
}

fn text(
    loaded: LoadedText,
    options: &LoadOptions,
    setup: &Setup,
    errands: Arc<Errands>,
    notice: &mut dyn FnMut(String),
) -> Result<Assembled> {
    let LoadedText {
        mut backend,
        limits,
        vocab,
        tokenizer,
        info,
        fingerprint,
        check_state,
        adapters,
        draft,
    } = loaded;
    let drafts = Drafts {
        usual: options.speculative,
        has_model: draft.is_some(),
        possible: limits.n_drafted() > 0,
    };
    if !drafts.possible && (drafts.has_model || drafts.choose(None)?.is_some()) {
        notice(Drafts::NOTICE.to_owned());
    }
    let tokenize = |text: &str| backend.tokenize(text, false);
    let template = options.chat_template.clone();
    let conversation = Conversation::new(&info, template, &vocab, tokenize)?;
    let (vocab, adapters) = (Arc::new(vocab), Arc::new(Adapters::new(adapters)));
    let signal = setup.signal.clone();
    let residence = Arc::clone(&setup.residence);
    let format = (fingerprint.clone(), check_state, Arc::clone(&adapters));
    let (states, arrivals) =
        States::new(format, limits, vocab.len(), signal.clone(), Arc::clone(&errands));
    let grammars = Grammars::new(Arc::clone(&vocab), signal.clone(), errands);
    let words = Words::new(tokenizer, Arc::clone(&residence));
    let kit = Kit {
        limits,
        vocab: Arc::clone(&vocab),
        signal,
        residence,
        states: Arc::clone(&states),
        arrivals,
    };
    let parts = Parts {
        limits,
        vocab,
        adapters,
        drafts,
        conversation,
        states,
        grammars,
        words: words.clone(),
    };
    let (generator, tasks) = Generator::new(&info, parts, setup.clone());
    let native = (backend, draft.map(Drafter::new));
    let service = TextService::new(native, kit, tasks, fingerprint, words.clone());
    Ok(Assembled {
        info,
        skill: Skill::Text(Box::new(generator)),
        words: Some(words),
        service: Box::new(service),
    })
}

fn speech(mut loaded: Box<LoadedSpeech>, setup: &Setup) -> Assembled {
    let info = std::mem::take(&mut loaded.info);
    let (transcriber, tasks) = Transcriber::new(&loaded, setup.clone());
    let residence = Arc::clone(&setup.residence);
    let service = SpeechService::new(loaded, tasks, setup.signal.clone(), residence);
    Assembled {
        info,
        skill: Skill::Speech(Box::new(transcriber)),
        words: None,
        service: Box::new(service),
    }
}

fn embedding(mut loaded: LoadedEmbedding, setup: &Setup) -> Result<Assembled> {
    let residence = Arc::clone(&setup.residence);
    let words = Words::new(loaded.tokenizer.clone(), Arc::clone(&residence));
    let (embedder, tasks) = Embedder::new(&loaded, words.count()?, setup.clone());
    let info = std::mem::take(&mut loaded.info);
    let signal = setup.signal.clone();
    let service = EmbeddingService::new(loaded, tasks, signal, residence, words.clone())?;
    Ok(Assembled {
        info,
        skill: Skill::Embedding(Box::new(embedder)),
        words: Some(words),
        service: Box::new(service),
    })
}
