// Tokens.exe MODEL COUNT: microseconds for each token of a generation, streamed as an IEnumerable<string>.
using System;
using System.Diagnostics;
using System.Globalization;
using Fluid.Native;

static class Tokens
{
    static int Main(string[] arguments)
    {
        int count = int.Parse(arguments[1], CultureInfo.InvariantCulture);
        long letters = 0;
        var spent = new Stopwatch();
        using (var engine = new Engine())
        using (var model = engine.LoadModel(arguments[0], new Options { ["n_threads"] = 1, ["n_ctx"] = 4096 }))
            for (int round = 0; round < 2; round++) // the first one warms up
            {
                var request = new Request("Once") { ["max_tokens"] = count, ["ignore_eos"] = true, ["temperature"] = 0 };
                spent.Restart();
                foreach (var piece in model.Stream(request)) letters += piece.Length;
                spent.Stop();
            }
        Console.WriteLine((spent.Elapsed.TotalMilliseconds * 1e3 / count).ToString("F2", CultureInfo.InvariantCulture));
        return letters == 0 ? 1 : 0;
    }
}
