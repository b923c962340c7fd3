// Finds libfluid, opens it before its first use, and compares its binary interface. Its error names every place.

using System;
using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;

namespace Fluid.Native.Interop
{
    internal static partial class Loader
    {
        /// What `DllImport` would call the library.
        internal const string Name = "fluid";

        /// FLUID_ABI_VERSION of the fluid.h this binding was written for.
        private const uint Abi = (1 << 16) | 1;

        private const string Variable = "FLUID_LIBRARY";

        private static readonly object gate = new object();
        private static IntPtr library;
        private static bool isOpen;

        /// Where the library was found; a bare name where the system found it.
        internal static string Path { get; private set; }

        /// Every way into the binding begins here. A failure is tried again by the next call.
        internal static void EnsureOpen()
        {
            if (Volatile.Read(ref isOpen)) return;
            lock (gate)
            {
                if (isOpen) return;
                Open();
                Bind();
                Volatile.Write(ref isOpen, true);
            }
        }

        private static void Open()
        {
            if (IntPtr.Size == 4)
                throw new FluidBackendMissingException(
                    "libfluid needs a 64-bit process, and this one has 32 bits: build for x64, or turn \"Prefer 32-bit\" off.");
            var tried = new StringBuilder();
            foreach (var place in Places())
            {
                var why = Try(place);
                if (why == null) return;
                tried.Append("\n  ").Append(place).Append(": ").Append(why);
            }
            throw new FluidBackendMissingException(
                $"libfluid was not found, or does not fit. Looked at:{tried}\nInstall the package's native part for "
                + $"{Rid()}, or set the variable {Variable} to the library's path.");
        }

        /// Null when the library at `place` is now in use, else why not.
        private static string Try(string place)
        {
            if (System.IO.Path.IsPathRooted(place) && !File.Exists(place)) return "not there";
            var opened = OpenLibrary(place, out var why);
            if (opened == IntPtr.Zero) return why;
            var version = Symbol(opened, "fluid_abi_version");
            if (version == IntPtr.Zero) return "has no fluid_abi_version, so it is another library";
            var abi = Marshal.GetDelegateForFunctionPointer<NumberShape>(version)();
            if (abi >> 16 != Abi >> 16 || abi < Abi)
                return $"has the binary interface {Dotted(abi)}, and {Dotted(Abi)} or a later {Abi >> 16}.x is needed";
            library = opened;
            Path = place;
            return null;
        }

        private static string Dotted(uint abi) => $"{abi >> 16}.{abi & 0xffff}";

        /// Where the library may be, first choice first: absolute paths, then names for the system. What the variable
        /// names is taken alone: whoever set it wants no other.
        internal static IEnumerable<string> Places()
        {
            var named = Environment.GetEnvironmentVariable(Variable);
            if (!string.IsNullOrEmpty(named))
            {
                var path = System.IO.Path.GetFullPath(named);
                if (!Directory.Exists(path)) return new[] { path };
                return Array.ConvertAll(FileNames(), name => System.IO.Path.Combine(path, name));
            }
            var places = new List<string>();
            foreach (var folder in Folders())
                foreach (var name in FileNames())
                    Add(places, System.IO.Path.Combine(folder, name));
            places.AddRange(FileNames());
            return places;
        }

        private static IEnumerable<string> Folders()
        {
            var domain = AppDomain.CurrentDomain;
            var folders = new List<string> { AssemblyFolder(), domain.BaseDirectory };
            // Where ASP.NET on .NET Framework has its assemblies, of which it loads copies from elsewhere.
            foreach (var folder in Split(domain.RelativeSearchPath, ';'))
                folders.Add(System.IO.Path.Combine(domain.BaseDirectory, folder));
            foreach (var folder in folders)
            {
                if (string.IsNullOrEmpty(folder)) continue;
                yield return System.IO.Path.Combine(folder, "runtimes", Rid(), "native");
                yield return folder;
            }
            // .NET's own list, which has the folders of NuGet packages and of single-file programs. `AppContext` has it
            // too, but no `GetData` before .NET Framework 4.7.
            var known = domain.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") as string;
            foreach (var folder in Split(known, System.IO.Path.PathSeparator)) yield return folder;
        }

        private static string[] Split(string list, char separator) =>
            (list ?? "").Split(new[] { separator }, StringSplitOptions.RemoveEmptyEntries);

        private static void Add(List<string> places, string place)
        {
            if (!places.Contains(place)) places.Add(place);
        }

        /// Null in a single-file program, whose folder is looked at too.
#if NET8_0_OR_GREATER
        [System.Diagnostics.CodeAnalysis.UnconditionalSuppressMessage("SingleFile", "IL3000")]
#endif
        private static string AssemblyFolder()
        {
            var location = typeof(Loader).Assembly.Location;
            return string.IsNullOrEmpty(location) ? null : System.IO.Path.GetDirectoryName(location);
        }

        /// As NuGet calls this platform.
        private static string Rid()
        {
            var system = IsWindows ? "win" : IsMac ? "osx" : "linux";
            return system + "-" + RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant();
        }

        private static string[] FileNames()
        {
            if (IsWindows) return new[] { "fluid.dll" };
            return IsMac
                ? new[] { "libfluid.1.dylib", "libfluid.dylib" }
                : new[] { "libfluid.so.1", "libfluid.so" };
        }

        private static bool IsWindows => RuntimeInformation.IsOSPlatform(OSPlatform.Windows);

        private static bool IsMac => RuntimeInformation.IsOSPlatform(OSPlatform.OSX);
    }
}
