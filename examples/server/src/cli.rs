//! The command line and the environment: Fluid Server's, and a few options of our own.

use std::path::PathBuf;

use clap::{ArgAction, Parser, ValueEnum};
use fluid::ffi::*;

/// OpenAI's protocol over local models.
///
/// The command line is Fluid Server's. Each option that has a variable is set by it where it is not given.
#[derive(Debug, Clone, Parser)]
#[command(name = "fluid-server", version, max_term_width = 100)]
pub(crate) struct Config {
    /// Address to listen on; others than 127.0.0.1 and ::1 can be reached from outside: give --api-key then
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

    /// Folder of the models, with llm, whisper and embedding in it
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
    /// Device to compute on
    #[arg(long, value_enum, default_value_t = Device::Auto, ignore_case = true)]
    pub(crate) device: Device,

    /// Do not load models before they are used
    #[arg(long)]
    pub(crate) no_warm_up: bool,
    /// Minutes after which a model that nobody uses gives its memory back, 0 for never
    #[arg(long, default_value_t = 5.0, env = "FLUID_IDLE_TIMEOUT", hide_env_values = true)]
    pub(crate) idle_timeout: f64,
    /// Seconds between looks at that
    #[arg(long, default_value_t = 60.0)]
    pub(crate) idle_check_interval: f64,
    /// GB of memory that all models may take together, 0 for no limit
    #[arg(long, default_value_t = 4.0)]
    pub(crate) max_memory: f64,

    /// Key that requests must have, as "Authorization: Bearer KEY"
    #[arg(long, env = "FLUID_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// Origin of web pages that may call the server, beside those of localhost; may be given several times, "*" for all
    #[arg(long, action = ArgAction::Append)]
    pub(crate) cors_origin: Vec<String>,
    /// Fetch nothing from the network
    #[arg(long)]
    pub(crate) offline: bool,
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
