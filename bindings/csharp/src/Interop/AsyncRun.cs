// A job that a task awaits.

using System;
using System.Threading;
using System.Threading.Tasks;

namespace Fluid.Native.Interop
{
    internal sealed class AsyncRun
    {
        private readonly Job job;
        private readonly IProgress<FluidEvent> events;
        private readonly CancellationToken token;
        // What awaits the task goes on elsewhere: the reading thread is everybody's.
        private readonly TaskCompletionSource<FluidEvent> ended =
            new TaskCompletionSource<FluidEvent>(TaskCreationOptions.RunContinuationsAsynchronously);
        private Exception thrown;

        private AsyncRun(Job job, IProgress<FluidEvent> events, CancellationToken token)
        {
            this.job = job;
            this.events = events;
            this.token = token;
        }

        /// Asynchronous itself: a task is cancelled, not faulted, where its method throws that it was cancelled.
        internal static async Task<FluidEvent> Start(Job job, IProgress<FluidEvent> events, CancellationToken token)
        {
            var run = new AsyncRun(job, events, token);
            run.Attach();
            // Not before: a job that somebody else reads is not this token's to cancel.
            using (token.Register(job.Cancel)) return await run.ended.Task.ConfigureAwait(false);
        }

        private void Attach()
        {
            if (!job.Listen(this)) throw new FluidBusyException("a task awaits the job already");
            try
            {
                Dispatcher.Attach(job);
            }
            catch
            {
                job.StopListening();
                throw;
            }
        }

        /// On the reading thread. Nothing that a caller's code throws gets past here.
        internal void Tell(FluidEvent said)
        {
            if (said.Kind == FluidEventKind.End) Finish(said);
            else if (thrown == null && events != null)
            {
                try
                {
                    events.Report(said);
                }
                catch (Exception e)
                {
                    thrown = e;
                    job.Cancel();
                }
            }
        }

        private void Finish(FluidEvent end)
        {
            if (thrown != null) ended.TrySetException(thrown);
            else if (end.Status == FluidStatus.Ok) ended.TrySetResult(end);
            else ended.TrySetException(FluidException.Of(end, token));
        }
    }
}
