// Two models at once in one process: one listens to a recording while the other one writes.
//
//     TwoModels MODEL.gguf WHISPER_DIR AUDIO

using System;
using System.Threading.Tasks;
using Fluid.Native;

static class TwoModels
{
    static int Main(string[] arguments)
    {
        if (arguments.Length < 3)
        {
            Console.Error.WriteLine("usage: TwoModels MODEL.gguf WHISPER_DIR AUDIO");
            return 2;
        }
        try
        {
            Run(arguments[0], arguments[1], arguments[2]).GetAwaiter().GetResult();
            return 0;
        }
        catch (FluidException e)
        {
            Console.Error.WriteLine(e.Message);
            return 1;
        }
    }

    static async Task Run(string writerPath, string listenerPath, string audio)
    {
        using (var engine = new Engine())
        {
            var loads = new[] { engine.LoadModelAsync(writerPath), engine.LoadModelAsync(listenerPath) };
            var models = await Task.WhenAll(loads);

            var request = new Request(Message.User("Write one sentence about the sea.")) { ["max_tokens"] = 64 };
            var written = models[0].GenerateAsync(request);
            var heard = models[1].TranscribeAsync(audio);
            Console.WriteLine($"Heard: {(await heard).Text.Trim()}");
            Console.WriteLine($"Written: {(await written).Text.Trim()}");
        }
    }
}
