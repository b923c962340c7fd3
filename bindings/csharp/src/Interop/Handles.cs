// Handles of the library, each freed once: by Dispose, or by the finalizer of what was forgotten.

using System;
using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Threading;

namespace Fluid.Native.Interop
{
    /// Handles are keys, never pointers to memory: a call with one that was freed is an error, no fault. So calls
    /// do not hold a reference while they run, and Dispose on another thread frees at once and ends them.
    internal abstract class FluidHandle : SafeHandle
    {
        protected FluidHandle(IntPtr value) : base(IntPtr.Zero, true)
        {
            SetHandle(value);
        }

        private bool isForgotten;

        protected override void Dispose(bool disposing)
        {
            isForgotten = !disposing;
            base.Dispose(disposing);
        }

        /// Frees what native work may take a while to let go. Of a forgotten handle another thread does that: no
        /// other finalizer of the program would run meanwhile.
        protected void FreeSlowly(WaitCallback free)
        {
            if (isForgotten && !Environment.HasShutdownStarted) ThreadPool.UnsafeQueueUserWorkItem(free, handle);
            else free(handle);
        }

        public override bool IsInvalid => handle == IntPtr.Zero;

        /// For a call; have a `GC.KeepAlive` of this behind the call.
        internal IntPtr Value
        {
            get
            {
                if (IsClosed) throw new ObjectDisposedException(GetType().Name.Replace("Handle", ""));
                return handle;
            }
        }
    }

    internal sealed class EngineHandle : FluidHandle
    {
        private static readonly ConcurrentDictionary<IntPtr, bool> live = new ConcurrentDictionary<IntPtr, bool>();

        internal EngineHandle(IntPtr value) : base(value)
        {
            live[value] = true;
        }

        protected override bool ReleaseHandle()
        {
            FreeSlowly(Free);
            return true;
        }

        private static void Free(object engine)
        {
            NativeMethods.fluid_engine_free((IntPtr)engine);
            live.TryRemove((IntPtr)engine, out _);
        }

        /// Ends the threads of all engines. Freeing one twice is an error that harms nobody.
        internal static void FreeAll()
        {
            foreach (var engine in live.Keys) NativeMethods.fluid_engine_free(engine);
        }
    }

    internal sealed class ModelHandle : FluidHandle
    {
        internal ModelHandle(IntPtr value) : base(value) { }

        /// A model that went with its engine is no longer known; that is no failure.
        protected override bool ReleaseHandle()
        {
            FreeSlowly(model => NativeMethods.fluid_model_free((IntPtr)model));
            return true;
        }
    }

    internal sealed class JobHandle : FluidHandle
    {
        internal JobHandle(IntPtr value) : base(value) { }

        /// Cancels it too, if it runs.
        protected override bool ReleaseHandle() => NativeMethods.fluid_job_free(handle) == 0;
    }

    internal sealed class QueueHandle : FluidHandle
    {
        internal QueueHandle(IntPtr value) : base(value) { }

        protected override bool ReleaseHandle() => NativeMethods.fluid_queue_free(handle) == 0;
    }
}
