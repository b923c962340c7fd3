//! The command line and the environment: Fluid Server's, and a few options of our own.
#![forbid(unsafe_code)]

mod problem;
mod values;

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, ValueEnum};
use fluid::ffi::*;

pub(crate) use problem::Problem;
pub(crate) use values::Key;
use values::{count, minutes, origin, switch, variable};

/// OpenAI's protocol over local models.
///
/// The command line is Fluid Server's. An option that has a variable is set by it where it is not given; an empty
/// variable counts as none.
#[derive(Debug, Clone, Parser)]
#[command(name = "fluid-server", version, after_help = VARIABLES)]
#[command(max_term_width = 100, args_override_self = true)]
pub(crate) struct Config {
    /// Address to listen on; others than 127.0.0.1 and ::1 can be reached from outside: give a key then
    #[arg(long, default_value = "127.0.0.1", env = "FLUID_HOST", hide_env_values = true)]
    pub(crate) host: String,
    /// Port to listen on; 0 for any that is free
    #[arg(long, default_value_t = 3847, env = "FLUID_PORT", hide_env_values = true)]
    pub(crate) port: u16,
    /// How many requests each model works on at once; others wait
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,
    /// Has no meaning here: there are no sources to watch
    #[arg(long)]
    pub(crate) reload: bool,

    /// What is written to the log on stderr
    #[arg(long, value_enum, default_value_t = LogLevel::Info, ignore_case = true)]
    pub(crate) log_level: LogLevel,

    /// Folder of the models, with llm, whisper and embedding in it; made where it is missing
    #[arg(long, default_value = "./models", env = "FLUID_MODEL_PATH", hide_env_values = true)]
    pub(crate) model_path: PathBuf,
    /// Folder of compiled models [default: cache in --model-path]
    #[arg(long, env = "FLUID_CACHE_DIR", hide_env_values = true)]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Language model to load at first, and for requests that name none
    #[arg(
        long,
        default_value = "unsloth/gemma-3-4b-it-GGUF/gemma-3-4b-it-Q4_K_M.gguf",
        env = "FLUID_LLM_MODEL",
        hide_env_values = true
    )]
    pub(crate) llm_model: String,
    /// Whisper model to load at first, and for requests that name none
    #[arg(
        long,
        default_value = "whisper-tiny",
        env = "FLUID_WHISPER_MODEL",
        hide_env_values = true
    )]
    pub(crate) whisper_model: String,
    /// Embedding model for requests that name none; loaded when it is first used
    #[arg(long, env = "FLUID_EMBEDDING_MODEL", hide_env_values = true)]
    pub(crate) embedding_model: Option<String>,
    /// Tokens of context for each request; without it the model's own, as far as memory allows
    #[arg(long, env = "FLUID_N_CTX", hide_env_values = true, value_parser = clap::value_parser!(u32).range(16..))]
    pub(crate) n_ctx: Option<u32>,
    /// Device to compute on
    #[arg(long, value_enum, default_value_t = Device::Auto, ignore_case = true)]
    pub(crate) device: Device,

    /// Do not load models before they are used
    #[arg(long)]
    pub(crate) no_warm_up: bool,
    /// Minutes after which a model that nobody uses gives its memory back, 0 for never
    #[arg(
        long,
        default_value = "5",
        env = "FLUID_IDLE_TIMEOUT",
        hide_env_values = true,
        value_parser = minutes
    )]
    pub(crate) idle_timeout: f64,
    /// Seconds between looks at that
    #[arg(long, default_value = "60", value_parser = values::seconds)]
    pub(crate) idle_check_interval: f64,
    /// GB of memory that all models may take together, 0 for no limit
    #[arg(long, default_value = "4.0", value_parser = count)]
    pub(crate) max_memory: f64,

    /// Key that requests must have, as "Authorization: Bearer KEY"; other users of the machine can read
    /// command lines, but not the variable
    #[arg(long, env = "FLUID_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<Key>,
    /// Origin of web pages that may call the server, beside those of localhost; may be given several times,
    /// "*" for all
    #[arg(long, action = ArgAction::Append, value_parser = origin)]
    pub(crate) cors_origin: Vec<String>,
    /// Fetch nothing from the network
    #[arg(long)]
    pub(crate) offline: bool,
    /// MiB that a request's body may have
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) max_body_mb: u32,
    /// MiB that an uploaded recording may have
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) max_upload_mb: u32,
    /// Seconds that a client may be silent: before and within a request, and when it should read the answer
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub(crate) client_timeout: u16,

    /// Whether embeddings are served: `FLUID_ENABLE_EMBEDDINGS`.
    #[arg(skip = true)]
    pub(crate) enable_embeddings: bool,
}

const VARIABLES: &str = "\
Variables without an option:
  FLUID_DATA_ROOT          Folder of models and cache where nothing else names theirs
  FLUID_ENABLE_EMBEDDINGS  true or false: whether embeddings are served [default: true]
  FLUID_WARM_UP            true or false: load models before they are used [default: true]";

/// All that have a meaning; an option's are those that it names with `env`.
const NAMES: [&str; 12] = [
    "FLUID_HOST",
    "FLUID_PORT",
    "FLUID_DATA_ROOT",
    "FLUID_MODEL_PATH",
    "FLUID_CACHE_DIR",
    "FLUID_LLM_MODEL",
    "FLUID_WHISPER_MODEL",
    "FLUID_EMBEDDING_MODEL",
    "FLUID_ENABLE_EMBEDDINGS",
    "FLUID_WARM_UP",
    "FLUID_IDLE_TIMEOUT",
    "FLUID_API_KEY",
];

impl Config {
    /// What the command line and the environment ask for. Called before the process has other threads.
    pub(crate) fn read() -> Result<Self, Problem> {
        for name in NAMES {
            if std::env::var_os(name).is_some_and(|value| value.is_empty()) {
                std::env::remove_var(name);
            }
        }
        let mut matches = Problem::of(Self::command().try_get_matches())?;
        let is_default = |id| matches.value_source(id) == Some(ValueSource::DefaultValue);
        let default_models = is_default("model_path");
        let mut config = Problem::of(Self::from_arg_matches_mut(&mut matches))?;
        if let Some(root) = variable("FLUID_DATA_ROOT").map(PathBuf::from) {
            if default_models {
                config.model_path = root.join("models");
            }
            config.cache_dir.get_or_insert_with(|| root.join("cache"));
        }
        if config.api_key.as_ref().is_some_and(|key| !key.is_sendable()) {
            return Err(Problem::usage(
                "--api-key (FLUID_API_KEY) takes visible ASCII characters without spaces",
            ));
        }
        config.no_warm_up |= !switch("FLUID_WARM_UP")?;
        config.enable_embeddings = switch("FLUID_ENABLE_EMBEDDINGS")?;
        Ok(config)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
}

impl LogLevel {
    /// As the library counts.
    pub(crate) fn number(self) -> fluid_log_level {
        match self {
            Self::Debug => FLUID_LOG_DEBUG,
            Self::Info => FLUID_LOG_INFO,
            Self::Warning => FLUID_LOG_WARN,
            Self::Error => FLUID_LOG_ERROR,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum Device {
    Auto,
    Cpu,
    Gpu,
    Npu,
}

impl Device {
    /// As the library's `device` option names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "AUTO",
            Self::Cpu => "CPU",
            Self::Gpu => "GPU",
            Self::Npu => "NPU",
        }
    }
}
