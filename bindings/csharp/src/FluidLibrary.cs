// What belongs to the process: the library itself, its log, the machine.

using System;
using System.Collections.Concurrent;
using System.Threading;
using Fluid.Native.Interop;

namespace Fluid.Native
{
    /// <summary>The library itself, its log, and the machine it runs on.</summary>
    public static class FluidLibrary
    {
        /// Milliseconds that the end of a program waits for calls of a log handler.
        private const int PatienceAtEnd = 1000;

        private static readonly object gate = new object();
        // The library calls it from its own threads for as long as it is set: it must not be collected.
        private static readonly NativeLog nativeLog = OnLog;
        private static volatile Action<FluidLogLevel, string> logHandler;
        private static bool silencesAtEnd;
        private static readonly ConcurrentDictionary<Thread, bool> inHandler = new ConcurrentDictionary<Thread, bool>();

        /// <summary>The library's version, such as "0.1.0".</summary>
        /// <exception cref="FluidBackendMissingException">It was not found.</exception>
        public static string Version => Opened(() => Utf8.Read(NativeMethods.fluid_version()));

        /// <summary>The version of the library's binary interface: major number and minor number.</summary>
        public static Version AbiVersion
        {
            get
            {
                var number = Opened(() => NativeMethods.fluid_abi_version());
                return new Version((int)(number >> 16), (int)(number & 0xffff));
            }
        }

        /// <summary>Where the library was found; a bare name where the system found it.</summary>
        public static string Path => Opened(() => Loader.Path);

        /// <summary>Lists what models can run on: <c>cpu</c>, <c>devices</c> and <c>notes</c>, see fluid.h.</summary>
        public static Json Devices()
        {
            return Opened(() => Json.Parse(Utf8.Take(Call.Make(NativeMethods.fluid_devices, null))));
        }

        /// <summary>Checks what an installation needs and has: <c>ok</c>, <c>checks</c>, and <c>text</c> for reading. It
        /// loads no model and uses no network.</summary>
        public static Json Doctor(Options options = null)
        {
            return Opened(() =>
                Json.Parse(Utf8.Take(Call.Make(NativeMethods.fluid_doctor, null, options?.ToString()))));
        }

        /// <summary>Sets the one log handler of the process; null makes the log silent again, as it is at first. Returns
        /// when all calls of the handler before have ended.</summary>
        /// <remarks>When the program or the application domain that set a handler ends, the log falls silent; a call of the
        /// handler that waits longer than a second then is interrupted. Where Mono runs it, its engines are freed then, and
        /// calls on its background threads end with a <see cref="FluidCanceledException"/>.</remarks>
        /// <param name="handler">Called on any thread, on several at once. It must not wait for a job. What it
        /// throws is dropped: there is nobody to throw it to.</param>
        /// <param name="level">This level and what matters more is passed on.</param>
        /// <exception cref="FluidBusyException">Called from inside the handler.</exception>
        public static void SetLog(Action<FluidLogLevel, string> handler, FluidLogLevel level = FluidLogLevel.Info)
        {
            Loader.EnsureOpen();
            // Before the lock: its holder may wait for just this call of the handler to end.
            if (IsInHandler) throw new FluidBusyException("the log is set from inside its handler");
            lock (gate)
            {
                if (handler == null)
                {
                    Silence();
                    logHandler = null;
                    return;
                }
                var callback = System.Runtime.InteropServices.Marshal.GetFunctionPointerForDelegate(nativeLog);
                var before = logHandler;
                logHandler = handler;
                try
                {
                    Call.Check(NativeMethods.fluid_log_set(callback, IntPtr.Zero, (int)level));
                }
                catch
                {
                    logHandler = before;
                    throw;
                }
                SilenceAtEnd();
            }
        }

        internal static string StatusName(FluidStatus status)
        {
            Loader.EnsureOpen();
            return Utf8.Read(NativeMethods.fluid_status_name((int)status));
        }

        private static bool IsInHandler => inHandler.ContainsKey(Thread.CurrentThread);

        private static void Silence()
        {
            Call.Check(NativeMethods.fluid_log_set(IntPtr.Zero, IntPtr.Zero, (int)FluidLogLevel.Error));
        }

        /// The library's threads must not call into a runtime, or a domain of one, that is going away.
        private static void SilenceAtEnd()
        {
            if (silencesAtEnd) return;
            silencesAtEnd = true;
            AppDomain.CurrentDomain.ProcessExit += (_, __) => EndLog();
            AppDomain.CurrentDomain.DomainUnload += (_, __) => EndLog();
        }

        /// A call of the handler may wait for just this thread, which ends the program: then it is interrupted, for the
        /// library waits for its threads. Mono counts a thread that ever called into it as its own, and waits for its
        /// end: there the engines are freed.
        private static void EndLog()
        {
            logHandler = null;
            if (!OthersLeaveHandler())
            {
                foreach (var thread in inHandler.Keys)
                    if (thread != Thread.CurrentThread) thread.Interrupt();
                if (!OthersLeaveHandler()) return;
            }
            NativeMethods.fluid_log_set(IntPtr.Zero, IntPtr.Zero, (int)FluidLogLevel.Error);
            if (Type.GetType("Mono.Runtime") != null) EngineHandle.FreeAll();
        }

        private static bool OthersLeaveHandler()
        {
            var own = IsInHandler ? 1 : 0;
            return SpinWait.SpinUntil(() => inHandler.Count <= own, PatienceAtEnd);
        }

        private static void OnLog(int level, IntPtr line, IntPtr userData)
        {
            // What a handler calls may log in its turn.
            var isOutermost = inHandler.TryAdd(Thread.CurrentThread, true);
            try
            {
                logHandler?.Invoke((FluidLogLevel)level, Utf8.Read(line));
            }
            catch (Exception)
            {
                // An exception must not reach the library's frames.
            }
            finally
            {
                if (isOutermost) inHandler.TryRemove(Thread.CurrentThread, out _);
            }
        }

        private static T Opened<T>(Func<T> read)
        {
            Loader.EnsureOpen();
            return read();
        }
    }
}
