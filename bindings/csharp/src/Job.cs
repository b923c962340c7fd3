// A long act, its events and its result. All else in this binding that takes time is a loop over one.

using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using Fluid.Native.Interop;

namespace Fluid.Native
{
    /// <summary>
    /// A load, a download, a generation or another long act that was started. Read its events by one of
    /// <see cref="Next"/>, <see cref="Events"/>, <see cref="Run"/>, <see cref="RunAsync"/> or a <see cref="JobQueue"/>.
    /// When nobody reads them, the job pauses; other jobs go on.
    /// </summary>
    /// <remarks>Any thread may call anything; one thread at a time reads events, others get a
    /// <see cref="FluidBusyException"/>. Disposing it cancels it: who reads its events gets the final one or an
    /// <see cref="ObjectDisposedException"/>. What was forgotten, the garbage collector cancels.</remarks>
    public sealed partial class Job : IDisposable
    {
        private readonly JobHandle handle;
        // What must not be collected, and so freed, while the job runs: a model or an engine.
        private readonly object owner;
        // A queue holds what it reads from: the handle is freed behind its last event.
        private bool isQueued;
        private bool isDisposed;
        // 1 while a thread reads an event or attaches the job.
        private int readers;
        private AsyncRun listener;

        internal Job(IntPtr handle, object owner)
        {
            this.handle = new JobHandle(handle);
            this.owner = owner;
        }

        /// Gets the events where the dispatcher reads them.
        internal AsyncRun Listener => Volatile.Read(ref listener);

        /// False when there is a listener already.
        internal bool Listen(AsyncRun run) => Interlocked.CompareExchange(ref listener, run, null) == null;

        internal void StopListening() => Volatile.Write(ref listener, null);

        /// <summary>Whether the final event was read.</summary>
        public bool HasEnded { get; internal set; }

        /// <summary>Waits for the next event; null when none came in time, or the final one was read before.</summary>
        /// <param name="millisecondsTimeout">0 only looks, <see cref="Timeout.Infinite"/> waits for as long as it
        /// takes.</param>
        /// <exception cref="ObjectDisposedException">The job was disposed.</exception>
        public FluidEvent Next(int millisecondsTimeout = Timeout.Infinite)
        {
            var slices = new Slices(millisecondsTimeout);
            for (;;)
            {
                var slice = slices.Next(out var isLast);
                if (Wait(slice, out var said) || isLast) return said;
            }
        }

        /// False where nothing came in time.
        private unsafe bool Wait(int milliseconds, out FluidEvent said)
        {
            said = null;
            BeginReading();
            var isHeld = false;
            try
            {
                // The event lies in the job's memory, which must not go before it is copied.
                handle.DangerousAddRef(ref isHeld);
                var status = NativeMethods.fluid_job_next(handle.DangerousGetHandle(), milliseconds, out var native);
                if (status == (int)FluidStatus.Timeout) return false;
                if (status == (int)FluidStatus.End) return true;
                Call.Check(status);
                said = new FluidEvent((NativeEvent*)native);
                HasEnded |= said.Kind == FluidEventKind.End;
                return true;
            }
            finally
            {
                if (isHeld) handle.DangerousRelease();
                Volatile.Write(ref readers, 0);
            }
        }

        /// <summary>The events up to the final one, which is the last, as they come; leaving the loop cancels the
        /// job.</summary>
        /// <exception cref="FluidException">The job failed.</exception>
        /// <exception cref="FluidCanceledException">The job was cancelled.</exception>
        public IEnumerable<FluidEvent> Events(CancellationToken cancellationToken = default(CancellationToken))
        {
            if (HasEnded) yield break;
            // Refused where somebody else reads: it is not for this token then to cancel the job.
            var said = Next(0);
            var isInLoop = false;
            try
            {
                // A token may live longer than a loop that was forgotten: it does not hold the job.
                using (cancellationToken.Register(CancelWeak, new WeakReference<Job>(this)))
                {
                    for (said = said ?? Next(); said != null; said = HasEnded ? null : Next())
                    {
                        if (said.Kind == FluidEventKind.End) ThrowUnlessDone(said, cancellationToken);
                        isInLoop = true;
                        yield return said;
                        isInLoop = false;
                    }
                }
            }
            finally
            {
                if (isInLoop) Cancel();
            }
        }

        /// <summary>Reads the events to the end on this thread, and returns the final one.</summary>
        /// <param name="onEvent">Gets each event but the last; false stops the job, whose result then is what came so
        /// far. What it throws comes out of this call, and the job is cancelled.</param>
        /// <exception cref="FluidException">The job failed.</exception>
        /// <exception cref="FluidCanceledException">The job was cancelled, but not by
        /// <paramref name="onEvent"/>.</exception>
        /// <exception cref="InvalidOperationException">The final event was read before.</exception>
        public FluidEvent Run(Func<FluidEvent, bool> onEvent = null)
        {
            var isStopped = false;
            for (;;)
            {
                var said = Next() ?? throw EventsWereRead();
                if (said.Kind == FluidEventKind.End)
                {
                    if (!isStopped || said.Status != FluidStatus.Cancelled) ThrowUnlessDone(said);
                    return said;
                }
                if (isStopped || onEvent == null) continue;
                try
                {
                    isStopped = !onEvent(said);
                }
                catch
                {
                    Cancel();
                    throw;
                }
                if (isStopped) Cancel();
            }
        }

        /// <summary>
        /// Has the binding's one reading thread follow the job to its end, and gives the final event. It holds the job
        /// until then, so the task can be left alone.
        /// </summary>
        /// <param name="events">Gets each event but the last, on the reading thread, which all tasks need: it should
        /// return soon, and must not wait for a task of this library, which would never end. A
        /// <see cref="Progress{T}"/> made on a thread of a user interface hands them to that thread. What it throws
        /// ends the task, and the job is cancelled.</param>
        /// <param name="cancellationToken">Cancels the job.</param>
        /// <exception cref="FluidException">The job failed.</exception>
        /// <exception cref="FluidCanceledException">The job was cancelled.</exception>
        /// <exception cref="FluidBusyException">Somebody else reads its events.</exception>
        /// <exception cref="InvalidOperationException">The final event was read before.</exception>
        public Task<FluidEvent> RunAsync(
            IProgress<FluidEvent> events = null, CancellationToken cancellationToken = default(CancellationToken))
        {
            return AsyncRun.Start(this, events, cancellationToken);
        }

        /// <summary>Cancels the job: its final event comes with <see cref="FluidStatus.Cancelled"/>, unless it ended
        /// before. Any thread may call this at any time, also for a job that was disposed.</summary>
        public void Cancel()
        {
            if (!handle.IsClosed) NativeMethods.fluid_job_cancel(handle.DangerousGetHandle());
            GC.KeepAlive(this);
        }

        private static void CancelWeak(object reference)
        {
            if (((WeakReference<Job>)reference).TryGetTarget(out var job)) job.Cancel();
        }

        /// <summary>The result of a job that has ended, also of one that failed: JSON, or the text or subtitles that
        /// a transcription was asked for.</summary>
        /// <exception cref="FluidBusyException">The job runs.</exception>
        public string GetResult()
        {
            return WhileHeld(() => Utf8.Read(Call.Make(NativeMethods.fluid_job_json, handle)));
        }

        /// <summary>The vectors of an embedding that has ended; those of the first texts if it did not succeed.</summary>
        /// <exception cref="FluidBusyException">The job runs.</exception>
        public Embeddings GetEmbeddings()
        {
            return WhileHeld(() =>
            {
                Call.Check(NativeMethods.fluid_job_floats(handle.Value, out var data, out var count, out var dimensions));
                var values = new float[checked((int)count * (int)dimensions)];
                if (values.Length > 0) System.Runtime.InteropServices.Marshal.Copy(data, values, 0, values.Length);
                return new Embeddings(values, (int)count, (int)dimensions, Json.Parse(GetResult()));
            });
        }

        /// <summary>Takes the model out of a load that has succeeded, once.</summary>
        /// <exception cref="FluidBusyException">The job runs.</exception>
        /// <exception cref="FluidInvalidRequestException">There is no model to take.</exception>
        public Model TakeModel()
        {
            return new Model(Call.Make(NativeMethods.fluid_job_take_model, handle), (Engine)owner);
        }

        /// <summary>Cancels the job if it runs, and frees it.</summary>
        public void Dispose()
        {
            lock (handle)
            {
                Cancel();
                isDisposed = true;
                if (!isQueued) handle.Dispose();
            }
        }

        /// Between the final event's reading and `HasEnded` nobody else looks.
        private void BeginReading()
        {
            if (Interlocked.Exchange(ref readers, 1) != 0) throw new FluidBusyException("another thread reads the job");
        }

        /// Has a queue deliver the events; `handles` tells it the job by its handle.
        internal void Attach(QueueHandle queue, IDictionary<IntPtr, Job> handles)
        {
            BeginReading();
            try
            {
                AttachUnread(queue, handles);
            }
            finally
            {
                Volatile.Write(ref readers, 0);
            }
        }

        private void AttachUnread(QueueHandle queue, IDictionary<IntPtr, Job> handles)
        {
            lock (handle)
            {
                var key = handle.Value;
                if (isQueued) throw new FluidBusyException("the job is attached to a queue already");
                // The library would take it and announce nothing.
                if (HasEnded) throw EventsWereRead();
                handles[key] = this;
                try
                {
                    Call.Check(NativeMethods.fluid_job_attach(key, queue.Value));
                }
                catch
                {
                    handles.Remove(key);
                    throw;
                }
                isQueued = true;
            }
        }

        /// The queue has read the final event, or was freed.
        internal void Detach()
        {
            lock (handle)
            {
                isQueued = false;
                if (isDisposed) handle.Dispose();
            }
        }

        private static Exception EventsWereRead() => new InvalidOperationException("the job's events were read before");

        internal static void ThrowUnlessDone(
            FluidEvent end, CancellationToken cancellationToken = default(CancellationToken))
        {
            if (end.Status != FluidStatus.Ok) throw FluidException.Of(end, cancellationToken);
        }

        /// What the job lends must be copied before it is freed.
        private T WhileHeld<T>(Func<T> read)
        {
            var isHeld = false;
            try
            {
                handle.DangerousAddRef(ref isHeld);
                return read();
            }
            finally
            {
                if (isHeld) handle.DangerousRelease();
            }
        }
    }
}
