// A runner of some lines: methods with [Test] in the order they are written, one line for each, and a count.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Reflection;
using System.Threading;

[AttributeUsage(AttributeTargets.Method)]
sealed class TestAttribute : Attribute { }

/// Without names all tests run; else those whose name holds one of them. `--child NAME` is what tests start.
static class Runner
{
    static int Main(string[] arguments)
    {
        if (arguments.Length > 1 && arguments[0] == "--child") return Children.Run(arguments[1]);
        var passed = 0;
        var failed = 0;
        foreach (var test in Tests())
        {
            var name = test.DeclaringType.Name + "." + test.Name;
            if (arguments.Length > 0 && !arguments.Any(name.Contains)) continue;
            var watch = Stopwatch.StartNew();
            try
            {
                test.Invoke(null, null);
                passed++;
                Console.WriteLine($"ok {name} ({watch.ElapsedMilliseconds} ms)");
            }
            catch (TargetInvocationException e)
            {
                failed++;
                Console.WriteLine($"FAILED {name}\n    {e.InnerException.ToString().Replace("\n", "\n    ")}");
            }
            Console.Out.Flush();
        }
        Console.WriteLine($"{passed} passed, {failed} failed");
        return failed == 0 ? 0 : 1;
    }

    static IEnumerable<MethodInfo> Tests()
    {
        return from type in typeof(Runner).Assembly.GetTypes()
               where type.Name.EndsWith("Tests", StringComparison.Ordinal)
               orderby type.Name
               from method in type.GetMethods(BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public)
               where method.GetCustomAttribute<TestAttribute>() != null
               orderby type.Name, method.MetadataToken
               select method;
    }
}

static class Assert
{
    internal static void True(bool holds, string what)
    {
        if (!holds) throw new Exception("not so: " + what);
    }

    internal static void Equal<T>(T wanted, T found, string what = "")
    {
        if (!Equals(wanted, found)) throw new Exception($"{what} wanted {wanted}, found {found}");
    }

    internal static void Contains(string part, string text)
    {
        if (text == null || !text.Contains(part)) throw new Exception($"wanted \"{part}\" in: {text}");
    }

    /// Just this type, and gives it back.
    internal static T Throws<T>(Action act) where T : Exception
    {
        try
        {
            act();
        }
        catch (Exception e) when (e.GetType() == typeof(T))
        {
            return (T)e;
        }
        catch (Exception e)
        {
            throw new Exception($"wanted a {typeof(T).Name}, came {e}");
        }
        throw new Exception($"wanted a {typeof(T).Name}, came none");
    }

    /// A hang is a failure, no matter how long the run may take.
    internal static void Within(int milliseconds, string what, Func<bool> holds)
    {
        var watch = Stopwatch.StartNew();
        while (!holds())
        {
            if (watch.ElapsedMilliseconds > milliseconds) throw new Exception($"not within {milliseconds} ms: {what}");
            Thread.Sleep(2);
        }
    }
}
