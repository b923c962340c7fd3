// What a call or a job came to, and what an event tells: the numbers of fluid.h.

namespace Fluid.Native
{
    /// <summary>What a call or a job came to: 0 success, above 0 an outcome, below 0 an error.</summary>
    public enum FluidStatus
    {
        /// <summary>Done.</summary>
        Ok = 0,
        /// <summary>Nothing came within the time given.</summary>
        Timeout = 1,
        /// <summary>The job's final event was read before.</summary>
        End = 2,
        /// <summary>The job was cancelled, or what it belongs to was disposed.</summary>
        Cancelled = 10,
        /// <summary>The job's <c>deadline_ms</c> passed.</summary>
        Deadline = 11,
        /// <summary>A value is out of range.</summary>
        InvalidArgument = -10,
        /// <summary>A handle was freed, by itself or with its engine.</summary>
        InvalidHandle = -11,
        /// <summary>A string is not UTF-8.</summary>
        InvalidUtf8 = -12,
        /// <summary>A text is not JSON.</summary>
        InvalidJson = -20,
        /// <summary>A field has a wrong type or range.</summary>
        InvalidRequest = -21,
        /// <summary>A field or device is known, but this build lacks it, or the model cannot do it.</summary>
        Unsupported = -22,
        /// <summary>The prompt does not fit into the context.</summary>
        ContextOverflow = -23,
        /// <summary>A file, a model or a repository is not there.</summary>
        NotFound = -30,
        /// <summary>A file cannot be read or written.</summary>
        IO = -31,
        /// <summary>A file is not a whole, valid model.</summary>
        InvalidModel = -32,
        /// <summary>The model is of an architecture or format that this build cannot run.</summary>
        UnsupportedModel = -33,
        /// <summary>This processor lacks instructions that the build needs.</summary>
        UnsupportedCpu = -34,
        /// <summary>The audio is of no format this build knows, or broken.</summary>
        InvalidAudio = -35,
        /// <summary>The file is no whole saved state of this model and these options.</summary>
        InvalidState = -36,
        /// <summary>The hub cannot be reached, or answers with an error of its own.</summary>
        Network = -37,
        /// <summary>The hub wants a token, or refuses the one it got.</summary>
        AccessDenied = -38,
        /// <summary>The disk has no room for what is to be written.</summary>
        DiskFull = -39,
        /// <summary>The call would wait for itself, or another thread is inside the same call.</summary>
        Busy = -40,
        /// <summary>Too many jobs wait for the model.</summary>
        QueueFull = -41,
        /// <summary>Memory or threads could not be had.</summary>
        OutOfMemory = -50,
        /// <summary>The model library failed.</summary>
        Backend = -51,
        /// <summary>A native callback failed; this binding passes none that can.</summary>
        Callback = -52,
        /// <summary>A native library is not there, or does not open: libfluid itself, or OpenVINO.</summary>
        BackendMissing = -53,
        /// <summary>This process is a fork of the one that used the library.</summary>
        Forked = -60,
        /// <summary>A bug of the library.</summary>
        Internal = -70,
    }

    /// <summary>What an event tells. Skip kinds you do not know.</summary>
    public enum FluidEventKind
    {
        /// <summary><see cref="FluidEvent.Progress"/> tells how far the job is.</summary>
        Progress = 1,
        /// <summary>A token of the answer: <see cref="FluidEvent.Text"/>, which may be empty.</summary>
        Token = 2,
        /// <summary>A segment of speech: <see cref="FluidEvent.Text"/> from <see cref="FluidEvent.Start"/> to
        /// <see cref="FluidEvent.End"/>.</summary>
        Segment = 3,
        /// <summary>The language spoken was detected: its code is <see cref="FluidEvent.Text"/>.</summary>
        Language = 4,
        /// <summary>Something is not as asked; <see cref="FluidEvent.Text"/> says what and why.</summary>
        Notice = 5,
        /// <summary>A token of the model's reasoning, which stands before its answer.</summary>
        Reasoning = 6,
        /// <summary>A call of a tool begins or goes on: <see cref="FluidEvent.Json"/> is OpenAI's delta.</summary>
        ToolCall = 7,
        /// <summary>Something happened to a model of the engine, see <see cref="Engine.StartEvents"/>.</summary>
        Model = 8,
        /// <summary>The job's one end: <see cref="FluidEvent.Status"/> and the result in
        /// <see cref="FluidEvent.Json"/>.</summary>
        End = 100,
    }

    /// <summary>How much a log line matters.</summary>
    public enum FluidLogLevel
    {
        /// <summary>A call or a job failed.</summary>
        Error = 1,
        /// <summary>Something works, but not as asked.</summary>
        Warn = 2,
        /// <summary>Loads, frees, choices made.</summary>
        Info = 3,
        /// <summary>What the model libraries say, step by step.</summary>
        Debug = 4,
    }
}
