// Opening a library with the system's own functions, for netstandard2.0.

#if !NET8_0_OR_GREATER
using System;
using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Fluid.Native.Interop
{
    internal static partial class Loader
    {
        private const int Now = 2;                             // RTLD_NOW
        private const uint WithItsFolder = 0x8;                // LOAD_WITH_ALTERED_SEARCH_PATH

        /// Zero where it does not open, with the system's reason.
        private static IntPtr OpenLibrary(string place, out string why)
        {
            why = null;
            IntPtr opened;
            if (IsWindows)
            {
                opened = LoadLibraryExW(place, IntPtr.Zero, System.IO.Path.IsPathRooted(place) ? WithItsFolder : 0);
                if (opened == IntPtr.Zero) why = new Win32Exception(Marshal.GetLastWin32Error()).Message;
                return opened;
            }
            // Bound before it is needed: binding it by the dl functions forgets their last error.
            Dl((_, __, error) => error());
            opened = Dl((open, _, __) => open(Utf8.Bytes(place), Now));
            if (opened == IntPtr.Zero) why = Utf8.Read(Dl((_, __, error) => error()));
            return opened;
        }

        private static IntPtr Symbol(IntPtr opened, string name)
        {
            return IsWindows
                ? GetProcAddress(opened, name)
                : Dl((_, symbol, __) => symbol(opened, Utf8.Bytes(name)));
        }

        internal static T Function<T>(string name) where T : class
        {
            return Marshal.GetDelegateForFunctionPointer<T>(Symbol(library, name));
        }

        /// Nothing is left to do: `NativeMethods` binds each function when it is first used.
        private static void Bind() { }

        private delegate IntPtr DlOpen(byte[] path, int flags);
        private delegate IntPtr DlSymbol(IntPtr library, byte[] name);
        private delegate IntPtr DlError();

        /// glibc and musl have the dl functions as libdl.so.2 or inside the C library, macOS as libdl.
        private static IntPtr Dl(Func<DlOpen, DlSymbol, DlError, IntPtr> use)
        {
            try
            {
                return use(dlopen, dlsym, dlerror);
            }
            catch (DllNotFoundException)
            {
                return use(dlopen_of_libc, dlsym_of_libc, dlerror_of_libc);
            }
        }

        [DllImport("kernel32", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern IntPtr LoadLibraryExW(string path, IntPtr reserved, uint flags);

        [DllImport("kernel32", CharSet = CharSet.Ansi, BestFitMapping = false)]
        private static extern IntPtr GetProcAddress(IntPtr library, string name);

        [DllImport("libdl.so.2")]
        private static extern IntPtr dlopen(byte[] path, int flags);

        [DllImport("libdl.so.2")]
        private static extern IntPtr dlsym(IntPtr library, byte[] name);

        [DllImport("libdl.so.2")]
        private static extern IntPtr dlerror();

        [DllImport("libc", EntryPoint = "dlopen")]
        private static extern IntPtr dlopen_of_libc(byte[] path, int flags);

        [DllImport("libc", EntryPoint = "dlsym")]
        private static extern IntPtr dlsym_of_libc(IntPtr library, byte[] name);

        [DllImport("libc", EntryPoint = "dlerror")]
        private static extern IntPtr dlerror_of_libc();
    }
}
#endif
