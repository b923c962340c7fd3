// Opening a library through .NET, for net8.0.

#if NET8_0_OR_GREATER
using System;
using System.Runtime.InteropServices;

namespace Fluid.Native.Interop
{
    internal static partial class Loader
    {
        /// Zero where it does not open, with the system's reason.
        private static IntPtr OpenLibrary(string place, out string why)
        {
            why = null;
            try
            {
                return NativeLibrary.Load(place);
            }
            catch (Exception e) when (e is DllNotFoundException || e is BadImageFormatException)
            {
                why = e.Message;
                return IntPtr.Zero;
            }
        }

        private static IntPtr Symbol(IntPtr opened, string name)
        {
            return NativeLibrary.TryGetExport(opened, name, out var symbol) ? symbol : IntPtr.Zero;
        }

        /// From here on the imports of this assembly lead to the library that was opened.
        private static void Bind()
        {
            try
            {
                NativeLibrary.SetDllImportResolver(
                    typeof(Loader).Assembly,
                    (name, assembly, path) => name == Name ? library : IntPtr.Zero);
            }
            catch (InvalidOperationException)
            {
                throw new FluidBackendMissingException(
                    "the program has set a DllImportResolver of its own for Fluid.Native, which needs that place: leave "
                    + $"it out, and set the variable {Variable} to the library's path instead");
            }
        }
    }
}
#endif
