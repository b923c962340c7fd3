// Vectors and rankings.

using System;
using System.Linq;
using Fluid.Native;

static class EmbedTests
{
    static readonly string[] Texts =
    {
        "How do I get my money back?", "Refunds are paid to the card you bought with.", "Our shop opens at nine.",
    };

    [Test]
    static void Texts_become_vectors()
    {
        var vectors = Fixtures.Embedder.Embed(Texts);
        Assert.Equal(3, vectors.Count);
        Assert.Equal(384, vectors.Dimensions);
        Assert.True(Math.Abs(vectors[0].Sum(x => (double)x * x) - 1) < 1e-3, "of length 1");
        Assert.True(vectors.Similarity(0, 1) > vectors.Similarity(0, 2), "what is alike is near");
        Assert.True((int)vectors.Json["usage"]["prompt_tokens"] > 10, "usage");
        Assert.True(Fixtures.Embedder.Embed(Texts[0]).Zip(vectors[0], (a, b) => Math.Abs(a - b)).Max() < 0.01, "alone alike");
        Assert.Throws<ArgumentOutOfRangeException>(() => vectors[3].ToString());
    }

    [Test]
    static void Options_pass_through()
    {
        Assert.Equal(64, Fixtures.Embedder.Embed(Texts, new Options { ["dimensions"] = 64 }).Dimensions);
        var longText = string.Concat(Enumerable.Repeat("word ", 4000));
        Assert.Throws<FluidInvalidRequestException>(() => Fixtures.Embedder.Embed(longText));
        var cut = Fixtures.Embedder.Embed(new[] { longText }, new Options { ["truncate"] = true });
        Assert.Equal(1, cut.Json["truncated"].Count);
        Assert.Throws<FluidInvalidRequestException>(() => Fixtures.Embedder.Embed(""));
        Assert.Throws<FluidUnsupportedException>(() => Fixtures.Random.Embed("a"));
    }

    [Test]
    static void Documents_are_ranked()
    {
        var ranked = Fixtures.Ranker.Rerank("refund", Texts, new Options { ["top_n"] = 2 })["results"];
        Assert.Equal(2, ranked.Count);
        Assert.True((double)ranked[0]["relevance_score"] >= (double)ranked[1]["relevance_score"], "the best first");
    }

    [Test]
    static void A_whole_request_may_have_what_is_no_text()
    {
        var ids = Fixtures.Embedder.Tokenize(Texts[0], true);
        using (var job = Fixtures.Embedder.StartEmbed(new Options { ["input"] = ids }))
        {
            job.Run();
            var vectors = job.GetEmbeddings();
            Assert.True(vectors[0].Zip(Fixtures.Embedder.Embed(Texts[0]), (a, b) => Math.Abs(a - b)).Max() < 0.01, "as the text's");
        }
        var documents = Texts.Select(text => new Options { ["text"] = text });
        using (var job = Fixtures.Ranker.StartRerank(new Options { ["query"] = "refund", ["documents"] = documents }))
            Assert.Equal(3, Json.Parse(job.Run().Json)["results"].Count);
        Assert.Throws<ArgumentNullException>(() => Fixtures.Embedder.StartEmbed((Options)null));
    }
}
