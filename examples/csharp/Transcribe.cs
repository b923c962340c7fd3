// Writes down the speech of a recording, segment by segment: WAV, FLAC, MP3, OGG Vorbis, M4A or AAC.
//
//     Transcribe MODEL_DIR AUDIO [LANGUAGE]

using System;
using Fluid.Native;

static class Transcribe
{
    static int Main(string[] arguments)
    {
        if (arguments.Length < 2)
        {
            Console.Error.WriteLine("usage: Transcribe MODEL_DIR AUDIO [LANGUAGE]");
            return 2;
        }
        var options = new Options();
        if (arguments.Length > 2) options["language"] = arguments[2];
        try
        {
            using (var engine = new Engine())
            using (var model = engine.LoadModel(arguments[0]))
            {
                foreach (var segment in model.TranscribeStream(arguments[1], options))
                    Console.WriteLine($"[{segment.Start:mm\\:ss\\.ff} -> {segment.End:mm\\:ss\\.ff}]{segment.Text}");
            }
            return 0;
        }
        catch (FluidException e)
        {
            Console.Error.WriteLine(e.Message);
            return 1;
        }
    }
}
