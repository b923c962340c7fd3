// Streams and disposals to await, for net8.0.

#if NET8_0_OR_GREATER
using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using System.Threading;
using System.Threading.Channels;
using System.Threading.Tasks;

namespace Fluid.Native
{
    public sealed partial class Job
    {
        /// <summary>The events up to the final one, which is the last, as they come; leaving the loop cancels the job. What
        /// the loop has not taken yet waits in memory, without a bound. An enumerator that was dropped without
        /// <c>DisposeAsync</c> is cancelled when the garbage collector finds it.</summary>
        /// <exception cref="FluidException">The job failed.</exception>
        /// <exception cref="FluidCanceledException">The job was cancelled.</exception>
        public async IAsyncEnumerable<FluidEvent> EventsAsync(
            [EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            if (HasEnded) yield break;
            var events = Channel.CreateUnbounded<FluidEvent>(
                new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
            var run = RunAsync(new ChannelProgress(events.Writer), cancellationToken);
            // Refused, as where somebody else reads: the job is not this loop's to cancel.
            if (run.IsFaulted && !HasEnded) await run.ConfigureAwait(false);
            // However it ended: `run` tells, behind the loop.
            _ = run.ContinueWith(
                ended => events.Writer.Complete(), CancellationToken.None,
                TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            var abandoned = new CancelsWhenCollected(this);
            try
            {
                await foreach (var said in events.Reader.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
                    yield return said;
                yield return await run.ConfigureAwait(false);
            }
            finally
            {
                Cancel();
                GC.SuppressFinalize(abandoned);
                // Whoever left the loop does not want to know how the job ended.
                _ = run.ContinueWith(ended => ended.Exception, TaskScheduler.Default);
            }
        }

        /// The reading thread holds the job to its end; only the enumerator holds this.
        private sealed class CancelsWhenCollected
        {
            private readonly Job job;

            internal CancelsWhenCollected(Job job)
            {
                this.job = job;
            }

            ~CancelsWhenCollected() => job.Cancel();
        }

        private sealed class ChannelProgress : IProgress<FluidEvent>
        {
            private readonly ChannelWriter<FluidEvent> events;

            internal ChannelProgress(ChannelWriter<FluidEvent> events)
            {
                this.events = events;
            }

            public void Report(FluidEvent said) => events.TryWrite(said);
        }
    }

    public sealed partial class Engine : IAsyncDisposable
    {
        /// <summary>As <see cref="Dispose"/>, which waits for what cannot be stopped, on another thread.</summary>
        public ValueTask DisposeAsync() => new ValueTask(Task.Run(Dispose));
    }

    public sealed partial class Model : IAsyncDisposable
    {
        /// <summary>As <see cref="Dispose"/>, which waits for what cannot be stopped, on another thread.</summary>
        public ValueTask DisposeAsync() => new ValueTask(Task.Run(Dispose));

        /// <summary>The pieces of an answer as they come: <see cref="Stream"/> to await.</summary>
        /// <param name="request">A prompt, messages, or a whole request.</param>
        /// <param name="cancellationToken">Ends the loop with a <see cref="FluidCanceledException"/>.</param>
        public async IAsyncEnumerable<string> StreamAsync(
            Request request, [EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            using var job = StartGenerate(request);
            await foreach (var said in job.EventsAsync(cancellationToken).ConfigureAwait(false))
                if (IsPiece(said)) yield return said.Text;
        }

        /// <summary>The segments of a recording as they are decided: <see cref="TranscribeStream"/> to await.</summary>
        /// <param name="audio">A path, an audio file's bytes, or samples.</param>
        /// <param name="options">Those of <c>fluid_transcribe</c>.</param>
        /// <param name="cancellationToken">Ends the loop with a <see cref="FluidCanceledException"/>.</param>
        public async IAsyncEnumerable<Segment> TranscribeStreamAsync(
            Audio audio, Options options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            using var job = StartTranscribe(audio, options);
            await foreach (var said in job.EventsAsync(cancellationToken).ConfigureAwait(false))
                if (said.Kind == FluidEventKind.Segment) yield return new Segment(said);
        }
    }
}
#endif
