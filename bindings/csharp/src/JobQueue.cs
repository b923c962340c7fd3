// The events of many jobs, for one reader.

using System;
using System.Collections.Concurrent;
using System.Threading;
using Fluid.Native.Interop;

namespace Fluid.Native
{
    /// <summary>The events of many jobs, for one reader: <see cref="Attach"/> jobs, then call <see cref="Next"/> and count
    /// the final events. Of tasks (<see cref="Job.RunAsync"/>) the binding reads the events itself.</summary>
    /// <remarks>Any thread may call anything; one at a time is in <see cref="Next"/>.</remarks>
    public sealed class JobQueue : IDisposable
    {
        private readonly object slice = new object();
        private int readers;
        private volatile bool isClosing;
        private readonly QueueHandle handle;
        private readonly ConcurrentDictionary<IntPtr, Job> jobs = new ConcurrentDictionary<IntPtr, Job>();

        /// <summary>Makes a queue.</summary>
        /// <exception cref="FluidBackendMissingException">libfluid was not found.</exception>
        public JobQueue()
        {
            Loader.EnsureOpen();
            Call.Check(NativeMethods.fluid_queue_new(out var made));
            handle = new QueueHandle(made);
        }

        /// <summary>Has the queue deliver the job's events, those that wait included. The queue holds the job until its
        /// final event was read.</summary>
        /// <exception cref="FluidBusyException">The job is attached already, or somebody reads its events.</exception>
        /// <exception cref="InvalidOperationException">Its final event was read before.</exception>
        public void Attach(Job job)
        {
            (job ?? throw new ArgumentNullException(nameof(job))).Attach(handle, jobs);
        }

        /// <summary>Waits for the next event of any job, in turn among those that have one; null when none came in
        /// time.</summary>
        /// <param name="job">Whose event it is.</param>
        /// <param name="millisecondsTimeout">0 only looks, <see cref="Timeout.Infinite"/> waits for as long as it takes:
        /// without a job, until one is attached.</param>
        /// <exception cref="ObjectDisposedException">The queue was disposed, perhaps while this waited.</exception>
        /// <exception cref="FluidBusyException">Another thread is in this call.</exception>
        public FluidEvent Next(out Job job, int millisecondsTimeout = Timeout.Infinite)
        {
            if (Interlocked.Exchange(ref readers, 1) != 0) throw new FluidBusyException("another thread reads the queue");
            try
            {
                for (var slices = new Slices(millisecondsTimeout);;)
                {
                    var length = slices.Next(out var isLast);
                    lock (slice)
                    {
                        if (isClosing) throw new ObjectDisposedException(nameof(JobQueue));
                        var said = Wait(length, out job);
                        if (said != null || isLast) return said;
                    }
                }
            }
            finally
            {
                Volatile.Write(ref readers, 0);
            }
        }

        /// One wait in the library.
        private unsafe FluidEvent Wait(int milliseconds, out Job job)
        {
            job = null;
            var status = NativeMethods.fluid_queue_next(handle.Value, milliseconds, out var key, out var native);
            if (status == (int)FluidStatus.Timeout) return null;
            Call.Check(status);
            var said = new FluidEvent((NativeEvent*)native);
            jobs.TryGetValue(key, out job);
            if (said.Kind == FluidEventKind.End && jobs.TryRemove(key, out _))
            {
                job.HasEnded = true;
                job.Detach();
            }
            return said;
        }

        /// <summary>Frees the queue. Its jobs go on; their events can be read with <see cref="Job.Next"/> again.</summary>
        public void Dispose()
        {
            // A reader is out of the library between two slices.
            isClosing = true;
            lock (slice)
            {
                handle.Dispose();
                foreach (var job in jobs.Values) job.Detach();
                jobs.Clear();
            }
        }
    }
}
