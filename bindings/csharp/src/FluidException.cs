// The errors of the library: one class for each way a caller can react.

using System;
using System.Threading;
using Fluid.Native.Interop;

namespace Fluid.Native
{
    /// <summary>
    /// What the library reports as an error. The subclasses are the ways a caller can react; all else is this class,
    /// told apart by <see cref="Status"/>. Two things are .NET's own instead: a job that was cancelled is a
    /// <see cref="FluidCanceledException"/>, which is an <see cref="OperationCanceledException"/>, and the use of what
    /// was disposed is an <see cref="ObjectDisposedException"/>.
    /// </summary>
    public class FluidException : Exception
    {
        internal FluidException(FluidStatus status, string message) : base(message)
        {
            Status = status;
        }

        /// <summary>Which error it is.</summary>
        public FluidStatus Status { get; }

        /// <summary>Its name in C, such as <c>FLUID_ERROR_NOT_FOUND</c>.</summary>
        public string StatusName => FluidLibrary.StatusName(Status);

        internal static Exception Of(FluidStatus status, string message)
        {
            switch (status)
            {
                case FluidStatus.InvalidHandle: return new ObjectDisposedException(null, message);
                case FluidStatus.InvalidArgument:
                case FluidStatus.InvalidUtf8:
                case FluidStatus.InvalidJson:
                case FluidStatus.InvalidRequest: return new FluidInvalidRequestException(status, message);
                case FluidStatus.Unsupported: return new FluidUnsupportedException(message);
                case FluidStatus.ContextOverflow: return new FluidContextOverflowException(message);
                case FluidStatus.NotFound: return new FluidNotFoundException(message);
                case FluidStatus.IO:
                case FluidStatus.DiskFull: return new FluidIOException(status, message);
                case FluidStatus.InvalidModel:
                case FluidStatus.UnsupportedModel: return new FluidInvalidModelException(status, message);
                case FluidStatus.InvalidAudio: return new FluidInvalidAudioException(message);
                case FluidStatus.InvalidState: return new FluidInvalidStateException(message);
                case FluidStatus.Network: return new FluidNetworkException(message);
                case FluidStatus.AccessDenied: return new FluidAccessDeniedException(message);
                case FluidStatus.Busy: return new FluidBusyException(message);
                case FluidStatus.QueueFull: return new FluidQueueFullException(message);
                case FluidStatus.OutOfMemory: return new FluidOutOfMemoryException(message);
                case FluidStatus.BackendMissing: return new FluidBackendMissingException(message);
                default: return new FluidException(status, message);
            }
        }

        /// The error of a job that ended otherwise than with success.
        internal static Exception Of(FluidEvent end, CancellationToken token)
        {
            switch (end.Status)
            {
                case FluidStatus.Cancelled: return new FluidCanceledException(end.Json, token);
                case FluidStatus.Deadline: return new FluidDeadlineException(end.Json);
                default: return Of(end.Status, end.Text);
            }
        }
    }

    /// <summary>The job was cancelled: by its token, by <see cref="Job.Cancel"/>, or because what it belongs to was
    /// disposed. It comes within 100 ms for small models.</summary>
    public sealed class FluidCanceledException : OperationCanceledException
    {
        internal FluidCanceledException(string partialResult, CancellationToken token)
            : base("the job was cancelled", token)
        {
            PartialResult = partialResult;
        }

        /// <summary>What came so far, as the job's result would be: see <see cref="Completion.Parse"/> and
        /// <see cref="Transcript.Parse"/>.</summary>
        public string PartialResult { get; }
    }

    /// <summary>The <c>deadline_ms</c> of the request passed.</summary>
    public sealed class FluidDeadlineException : FluidException
    {
        internal FluidDeadlineException(string partialResult)
            : base(FluidStatus.Deadline, "the job's deadline passed")
        {
            PartialResult = partialResult;
        }

        /// <summary>What came so far, as the job's result would be.</summary>
        public string PartialResult { get; }
    }

    /// <summary>The call, its options or its request are wrong; the message names the field. Mend the call.</summary>
    public sealed class FluidInvalidRequestException : FluidException
    {
        internal FluidInvalidRequestException(FluidStatus status, string message) : base(status, message) { }
    }

    /// <summary>This build or this model cannot do what was asked. Leave the field out, or take another model.</summary>
    public sealed class FluidUnsupportedException : FluidException
    {
        internal FluidUnsupportedException(string message) : base(FluidStatus.Unsupported, message) { }
    }

    /// <summary>The prompt does not fit into the context. Shorten it, or load with a larger <c>n_ctx</c>.</summary>
    public sealed class FluidContextOverflowException : FluidException
    {
        internal FluidContextOverflowException(string message) : base(FluidStatus.ContextOverflow, message) { }
    }

    /// <summary>A file, a model or a repository is not there. The message names it, and names that are near.</summary>
    public sealed class FluidNotFoundException : FluidException
    {
        internal FluidNotFoundException(string message) : base(FluidStatus.NotFound, message) { }
    }

    /// <summary>A file cannot be read or written, or the disk is full. Check permissions and the disk.</summary>
    public sealed class FluidIOException : FluidException
    {
        internal FluidIOException(FluidStatus status, string message) : base(status, message) { }
    }

    /// <summary>The file is no whole model, or one that this build cannot run. Fetch it again, or take another.</summary>
    public sealed class FluidInvalidModelException : FluidException
    {
        internal FluidInvalidModelException(FluidStatus status, string message) : base(status, message) { }
    }

    /// <summary>The audio is of no format this build knows, or broken. Convert it.</summary>
    public sealed class FluidInvalidAudioException : FluidException
    {
        internal FluidInvalidAudioException(string message) : base(FluidStatus.InvalidAudio, message) { }
    }

    /// <summary>The file is no saved state of this model and these options. Save it again.</summary>
    public sealed class FluidInvalidStateException : FluidException
    {
        internal FluidInvalidStateException(string message) : base(FluidStatus.InvalidState, message) { }
    }

    /// <summary>The hub cannot be reached. Try again later.</summary>
    public sealed class FluidNetworkException : FluidException
    {
        internal FluidNetworkException(string message) : base(FluidStatus.Network, message) { }
    }

    /// <summary>The hub wants a token, or the repository's conditions were not accepted.</summary>
    public sealed class FluidAccessDeniedException : FluidException
    {
        internal FluidAccessDeniedException(string message) : base(FluidStatus.AccessDenied, message) { }
    }

    /// <summary>The call would wait for itself, or another thread reads the same job or queue.</summary>
    public sealed class FluidBusyException : FluidException
    {
        internal FluidBusyException(string message) : base(FluidStatus.Busy, message) { }
    }

    /// <summary>Too many jobs wait for the model. Try again when some have ended.</summary>
    public sealed class FluidQueueFullException : FluidException
    {
        internal FluidQueueFullException(string message) : base(FluidStatus.QueueFull, message) { }
    }

    /// <summary>Memory or threads could not be had. Use a smaller model or context; see
    /// <see cref="Engine.Estimate"/>.</summary>
    public sealed class FluidOutOfMemoryException : FluidException
    {
        internal FluidOutOfMemoryException(string message) : base(FluidStatus.OutOfMemory, message) { }
    }

    /// <summary>A native library was not found or does not open: libfluid itself, or OpenVINO's. The message lists every
    /// place looked at and why each failed.</summary>
    public sealed class FluidBackendMissingException : FluidException
    {
        internal FluidBackendMissingException(string message) : base(FluidStatus.BackendMissing, message) { }
    }
}
