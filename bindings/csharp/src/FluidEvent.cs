// One thing that happened in a job, copied out of the library.

using System;
using Fluid.Native.Interop;

namespace Fluid.Native
{
    /// <summary>One thing that happened in a job. It is a copy and stays valid.</summary>
    public sealed class FluidEvent
    {
        internal unsafe FluidEvent(NativeEvent* native)
        {
            Kind = (FluidEventKind)native->Kind;
            Status = (FluidStatus)native->Status;
            Choice = native->Choice;
            Token = native->Token;
            Logprob = native->Logprob;
            Text = Utf8.Read(native->Text, native->TextLength);
            Json = Utf8.Read(native->Json, native->JsonLength);
            Start = Seconds(native->Start);
            End = Seconds(native->End);
            Progress = native->Progress;
            Elapsed = Seconds(native->Elapsed);
            Age = Seconds(native->Age);
        }

        /// .NET Framework's and Mono's FromSeconds rounds to milliseconds.
        private static TimeSpan Seconds(double value) => TimeSpan.FromTicks((long)(value * TimeSpan.TicksPerSecond));

        /// <summary>What happened.</summary>
        public FluidEventKind Kind { get; }

        /// <summary>How the job ended, in its final event; else <see cref="FluidStatus.Ok"/>.</summary>
        public FluidStatus Status { get; }

        /// <summary>Index of the choice, where a request asks for several; else 0.</summary>
        public int Choice { get; }

        /// <summary>Id of the token, or -1.</summary>
        public int Token { get; }

        /// <summary>Natural logarithm of the token's probability, or NaN where it was not asked for; of a segment, the
        /// average of its tokens.</summary>
        public float Logprob { get; }

        /// <summary>Text of a token, a segment or a notice; never null. In a final event of a failed job, why.</summary>
        public string Text { get; }

        /// <summary>JSON of some kinds, else empty, never null: see <see cref="Native.Json.Parse"/>. In a final event it is
        /// the job's result, which is plain text where the format asked for is one.</summary>
        public string Json { get; }

        /// <summary>Where a segment of speech starts in the recording.</summary>
        public TimeSpan Start { get; }

        /// <summary>Where a segment of speech ends in the recording.</summary>
        public TimeSpan End { get; }

        /// <summary>How far the job is, from 0 to 1, in a progress event.</summary>
        public double Progress { get; }

        /// <summary>Time from the start of the job to what the event tells.</summary>
        public TimeSpan Elapsed { get; }

        /// <summary>Time from what the event tells to its reading: how far the reader is behind.</summary>
        public TimeSpan Age { get; }

        /// <inheritdoc/>
        public override string ToString() => Text.Length > 0 || Json.Length == 0 ? $"{Kind}: {Text}" : $"{Kind}: {Json}";
    }
}
