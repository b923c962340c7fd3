// Finds the sentence that says most nearly what is asked, by the vectors of an embedding model.
//
//     EmbedAndSearch MODEL.gguf "question"

using System;
using System.Linq;
using Fluid.Native;

static class EmbedAndSearch
{
    static readonly string[] Sentences =
    {
        "We deliver within three working days.",
        "Refunds are paid to the card you bought with.",
        "Our shop is open from nine to five.",
    };

    static int Main(string[] arguments)
    {
        if (arguments.Length < 2)
        {
            Console.Error.WriteLine("usage: EmbedAndSearch MODEL.gguf \"question\"");
            return 2;
        }
        try
        {
            using (var engine = new Engine())
            using (var model = engine.LoadModel(arguments[0]))
            {
                // The question comes first, so that one call makes all the vectors.
                var vectors = model.Embed(new[] { arguments[1] }.Concat(Sentences));
                var ranked = Enumerable.Range(0, Sentences.Length).OrderByDescending(i => vectors.Similarity(0, i + 1));
                foreach (var i in ranked.Take(1))
                    Console.WriteLine($"{vectors.Similarity(0, i + 1):0.000}  {Sentences[i]}");
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
