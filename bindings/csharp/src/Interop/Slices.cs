// Long waits in short pieces.

using System;

namespace Fluid.Native.Interop
{
    /// No thread stays inside the library for longer than this: when a program ends, Mono waits for background threads
    /// until they come back; and a queue is freed between two waits, never under one that would read its memory.
    internal struct Slices
    {
        internal const int Length = 100;

        private readonly int timeout;
        private readonly int since;

        /// Below 0 there is no last slice.
        internal Slices(int timeout)
        {
            this.timeout = timeout;
            since = Environment.TickCount;
        }

        internal int Next(out bool isLast)
        {
            isLast = false;
            if (timeout < 0) return Length;
            var left = Math.Max(0, timeout - unchecked(Environment.TickCount - since));
            isLast = left <= Length;
            return Math.Min(left, Length);
        }
    }
}
