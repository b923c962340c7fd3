// What takes a process of its own: the loader's errors, and ends of a program with jobs running.

using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Threading;
using Fluid.Native;

/// What the other process does.
static class Children
{
    internal static int Run(string name)
    {
        switch (name)
        {
            case "version":
                try
                {
                    Console.WriteLine($"found {FluidLibrary.Path}");
                    return 0;
                }
                catch (FluidBackendMissingException e)
                {
                    Console.WriteLine(e.Message);
                    return 3;
                }
            case "return":
                Begin();
                return 5;
            case "exit":
                Begin();
                Environment.Exit(5);
                return 1;
            case "throw":
                Begin();
                throw new TimeZoneNotFoundException("the program's own");
            case "exit-beside-handler":
                ExitBesideHandler();
                return 1;
#if !NET8_0_OR_GREATER
            case "unload":
                var other = AppDomain.CreateDomain("other");
                other.DoCallBack(Begin);
                AppDomain.Unload(other);
                // What this domain's engine logs would go to the handler of the other.
                Fixtures.Load(Fixtures.Tiny, null, new Engine()).Generate(new Request("a") { ["max_tokens"] = 2 });
                return 5;
            case "site":
                AppDomain.CreateDomain("site", null, new AppDomainSetup
                {
                    ApplicationBase = Path.Combine(AppDomain.CurrentDomain.BaseDirectory, "site"), PrivateBinPath = "bin",
                }).DoCallBack(() => Console.WriteLine($"found {FluidLibrary.Path}"));
                return 0;
#endif
            default:
                return 2;
        }
    }

    /// A handler waits for the thread that ends the program, as one does that shows lines in a window.
    static void ExitBesideHandler()
    {
        var gate = new object();
        using (var isInside = new ManualResetEventSlim())
        {
            Monitor.Enter(gate);
            FluidLibrary.SetLog((level, line) =>
            {
                isInside.Set();
                lock (gate) { }
            });
            Fixtures.Started(() => Fixtures.Load(Fixtures.Tiny, null, new Engine()));
            isInside.Wait();
            Environment.Exit(5);
        }
    }

    internal static object Held;

    /// Streams of all kinds run, the log is on, and nothing is disposed.
    static void Begin()
    {
        FluidLibrary.SetLog((level, line) => Thread.Sleep(1), FluidLogLevel.Debug);
        var model = Fixtures.Load(Fixtures.Tiny, null, new Engine());
        var stream = model.Stream(Fixtures.Endless()).GetEnumerator();
        stream.MoveNext();
        var task = model.GenerateAsync(Fixtures.Endless());
        var thread = Fixtures.Started(() =>
        {
            try
            {
                model.Generate(Fixtures.Endless());
            }
            catch (OperationCanceledException)
            {
                // As Mono ends engines with the program: see FluidLibrary.SetLog.
            }
        });
        var job = model.StartGenerate(Fixtures.Endless());
        Thread.Sleep(100);
        Held = new object[] { model, stream, task, thread, job };
    }
}

static class ProcessTests
{
    /// How the tests were started: a runtime and the program.
    static readonly string[] Host = Environment.GetEnvironmentVariable("FLUID_TEST_HOST").Split(' ');

    static readonly string Program = typeof(ProcessTests).Assembly.Location;

    static readonly string Rid = "linux-" + RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant();

    /// The code it ended with, and what it printed.
    static int Child(string name, string library, out string printed, string program = null)
    {
        var start = new ProcessStartInfo(Host[0], $"\"{program ?? Program}\" --child {name}")
        {
            UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true,
        };
        start.EnvironmentVariables.Remove("FLUID_LIBRARY");
        if (library != null) start.EnvironmentVariables["FLUID_LIBRARY"] = library;
        using (var child = Process.Start(start))
        {
            var errors = child.StandardError.ReadToEndAsync();
            var output = child.StandardOutput.ReadToEndAsync();
            if (!child.WaitForExit(30000))
            {
                child.Kill();
                throw new Exception($"{name} does not end");
            }
            printed = output.Result + errors.Result;
            return child.ExitCode;
        }
    }

    [Test]
    static void A_program_ends_with_streams_running()
    {
        foreach (var way in new[] { "return", "exit" })
        {
            string printed;
            Assert.Equal(5, Child(way, FluidLibrary.Path, out printed), way + " " + printed);
            Assert.Equal("", printed, way);
        }
        string said;
        Assert.True(Child("throw", FluidLibrary.Path, out said) != 0, "an exception of the program's own");
        Assert.Contains("the program's own", said);
        Assert.True(!said.Contains("SIGSEGV") && !said.Contains("Got a S"), said);
    }

    [Test]
    static void A_program_ends_beside_a_handler_that_waits_for_it()
    {
        string printed;
        Assert.Equal(5, Child("exit-beside-handler", FluidLibrary.Path, out printed), printed);
    }

#if !NET8_0_OR_GREATER
    [Test]
    static void A_log_handler_goes_with_its_domain()
    {
        string printed;
        Assert.Equal(5, Child("unload", FluidLibrary.Path, out printed), printed);
        Assert.Equal("", printed);
    }

    /// As ASP.NET lays a site out: its assemblies in bin, of which it loads copies from elsewhere.
    [Test]
    static void The_private_folders_of_a_domain_are_looked_at()
    {
        Fixtures.WithFolder("site", folder =>
        {
            var site = Path.Combine(folder, "site");
            var native = Path.Combine(site, "bin", "runtimes", Rid, "native");
            Directory.CreateDirectory(native);
            foreach (var file in new[] { Program, typeof(Engine).Assembly.Location })
                foreach (var place in new[] { folder, site }) File.Copy(file, Path.Combine(place, Path.GetFileName(file)));
            File.Copy(FluidLibrary.Path, Path.Combine(native, "libfluid.so.1"));
            string printed;
            Child("site", null, out printed, Path.Combine(folder, Path.GetFileName(Program)));
            Assert.Equal($"found {native}/libfluid.so.1", printed.Trim());
        });
    }
#endif

    [Test]
    static void The_variable_is_taken_alone()
    {
        string printed;
        Assert.Equal(3, Child("version", "/no/such/libfluid.so", out printed));
        Assert.Contains("/no/such/libfluid.so: not there", printed);
        Assert.Contains("FLUID_LIBRARY", printed);
        Assert.Equal(2, printed.Trim().Split('\n').Length - 1, printed);
        Assert.Equal(0, Child("version", Path.GetDirectoryName(FluidLibrary.Path), out printed), "a folder is fine: " + printed);
    }

    [Test]
    static void A_library_that_does_not_fit_is_named_with_the_reason()
    {
        string printed;
        Assert.Equal(3, Child("version", Environment.GetEnvironmentVariable("FLUID_TEST_OTHER_ABI"), out printed));
        Assert.Contains("has the binary interface 2.0, and 1.1 or a later 1.x is needed", printed);
        Assert.Equal(3, Child("version", Path.GetFullPath(Fixtures.Jfk), out printed));
        Assert.Contains("jfk.wav: ", printed);
    }

    /// As a program finds it that was built with the package: runtimes/RID/native beside the assembly.
    [Test]
    static void Places_are_looked_at_in_their_order()
    {
        Fixtures.WithFolder("m\u00fct Leerzeichen", folder =>
        {
            var here = Path.GetDirectoryName(Program);
            foreach (var file in Directory.GetFiles(here).Where(file => !file.Contains("libfluid")))
                File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
            var program = Path.Combine(folder, Path.GetFileName(Program));
            var native = Path.Combine(folder, "runtimes", Rid, "native");
            string printed;
            Assert.Equal(3, Child("version", null, out printed, program), printed);
            Assert.Contains($"{native}/libfluid.so.1: not there", printed);
            Assert.Contains($"{folder}/libfluid.so: not there", printed);
            Assert.Contains("\n  libfluid.so: ", printed);
            Assert.Contains($"native part for {Rid},", printed);

            File.Copy(FluidLibrary.Path, Path.Combine(folder, "libfluid.so"));
            Assert.Equal(0, Child("version", null, out printed, program), printed);
            Assert.Equal($"found {folder}/libfluid.so", printed.Trim());
            Directory.CreateDirectory(native);
            File.Move(Path.Combine(folder, "libfluid.so"), Path.Combine(native, "libfluid.so.1"));
            Assert.Equal(0, Child("version", null, out printed, program), printed);
            Assert.Equal($"found {native}/libfluid.so.1", printed.Trim());
        });
    }
}
