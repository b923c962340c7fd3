// The one thread that reads the events of all jobs that tasks await.

using System;
using System.Threading;

namespace Fluid.Native.Interop
{
    internal static class Dispatcher
    {
        /// How long the thread stays for jobs to come when it has none.
        private const int IdleMilliseconds = 5000;

        private static readonly object gate = new object();
        private static JobQueue queue;
        private static int jobs;
        private static bool isReading;

        internal static void Attach(Job job)
        {
            lock (gate)
            {
                queue = queue ?? new JobQueue();
                queue.Attach(job);
                Interlocked.Increment(ref jobs);
                if (isReading) return;
                new Thread(Read) { Name = "fluid events", IsBackground = true }.Start();
                isReading = true;
            }
        }

        private static void Read()
        {
            for (;;)
            {
                var said = queue.Next(out var job, IdleMilliseconds);
                if (said == null)
                {
                    if (MayEnd()) return;
                    continue;
                }
                if (said.Kind == FluidEventKind.End) Interlocked.Decrement(ref jobs);
                job.Listener.Tell(said);
            }
        }

        private static bool MayEnd()
        {
            lock (gate)
            {
                isReading = Volatile.Read(ref jobs) > 0;
                return !isReading;
            }
        }
    }
}
