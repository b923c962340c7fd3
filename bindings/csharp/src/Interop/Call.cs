// Calls into the library: texts to bytes, statuses to exceptions, results to strings.

using System;

namespace Fluid.Native.Interop
{
    internal static unsafe class Call
    {
        /// Reads why the call before failed, so it has to be the next thing done on this thread.
        internal static void Check(int status)
        {
            if (status == (int)FluidStatus.Ok) return;
            throw FluidException.Of((FluidStatus)status, Utf8.Read(NativeMethods.fluid_last_error()));
        }

        /// `owner` may be null, where the function takes NULL.
        internal static IntPtr Make(AskShape function, FluidHandle owner)
        {
            var status = function(owner == null ? IntPtr.Zero : owner.Value, out var result);
            GC.KeepAlive(owner);
            Check(status);
            return result;
        }

        internal static IntPtr Make(AskWithTextShape function, FluidHandle owner, string text)
        {
            fixed (byte* bytes = Utf8.Bytes(text))
            {
                var status = function(owner == null ? IntPtr.Zero : owner.Value, (IntPtr)bytes, out var result);
                GC.KeepAlive(owner);
                Check(status);
                return result;
            }
        }

        internal static IntPtr Make(AskWithTwoTextsShape function, FluidHandle owner, string first, string second)
        {
            fixed (byte* firstBytes = Utf8.Bytes(first))
            fixed (byte* secondBytes = Utf8.Bytes(second))
            {
                var status = function(owner.Value, (IntPtr)firstBytes, (IntPtr)secondBytes, out var result);
                GC.KeepAlive(owner);
                Check(status);
                return result;
            }
        }
    }
}
