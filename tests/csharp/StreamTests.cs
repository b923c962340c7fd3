// Streams to await: what net8.0 has beyond netstandard2.0. Mono compiles none of it.

#if NET8_0_OR_GREATER
using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using Fluid.Native;

static class StreamTests
{
    static void Waits(Func<Task> act)
    {
        var task = act();
        Assert.True(Task.WaitAny(new[] { task }, 30000) == 0, "it ends");
        task.GetAwaiter().GetResult();
    }

    [Test]
    static void A_stream_is_awaited() => Waits(async () =>
    {
        var request = Fixtures.Greedy("Count from one to five.", 24);
        var text = "";
        await foreach (var piece in Fixtures.Chat.StreamAsync(request)) text += piece;
        Assert.Equal(Fixtures.Chat.Generate(request).Text, text);
    });

    [Test]
    static void Leaving_an_awaited_stream_cancels_it() => Waits(async () =>
    {
        await foreach (var piece in Fixtures.Random.StreamAsync(Fixtures.Endless())) break;
        Fixtures.AllJobsEnd(Fixtures.Tiny);
    });

    [Test]
    static void An_awaited_loop_that_is_refused_cancels_nothing() => Waits(async () =>
    {
        using var job = Fixtures.Random.StartGenerate(new Request("a") { ["max_tokens"] = 200, ["ignore_eos"] = true });
        var first = job.RunAsync();
        try
        {
            await foreach (var said in job.EventsAsync(new CancellationToken(true))) { }
            Assert.True(false, "it is refused");
        }
        catch (FluidBusyException)
        {
        }
        Assert.Equal(FluidStatus.Ok, (await first).Status);
    });

    [Test]
    static void Engines_and_models_are_disposed_of_by_a_task() => Waits(async () =>
    {
        Model model;
        await using (var engine = new Engine())
        await using (model = Fixtures.Load(Fixtures.Tiny, null, engine)) model.Info();
        Assert.Throws<ObjectDisposedException>(() => model.Info());
    });

    [Test]
    static void A_token_ends_an_awaited_stream() => Waits(async () =>
    {
        using var source = new CancellationTokenSource();
        var pieces = 0;
        try
        {
            await foreach (var piece in Fixtures.Random.StreamAsync(Fixtures.Endless()).WithCancellation(source.Token))
                if (++pieces == 5) source.Cancel();
            Assert.True(false, "it ends by the token");
        }
        catch (FluidCanceledException e)
        {
            Assert.Equal(source.Token, e.CancellationToken);
        }
    });

    [Test]
    static void Errors_come_out_of_an_awaited_stream() => Waits(async () =>
    {
        FluidException caught = null;
        try
        {
            await foreach (var piece in Fixtures.Random.StreamAsync(new Request("a") { ["temperature"] = -1 })) { }
        }
        catch (FluidInvalidRequestException e)
        {
            caught = e;
        }
        Assert.Contains("temperature", caught?.Message);
    });

    [Test]
    static void Fifty_streams_are_awaited_at_once() => Waits(async () =>
    {
        var all = new List<Task<string>>();
        for (var i = 0; i < 50; i++) all.Add(Text());
        foreach (var text in await Task.WhenAll(all)) Assert.Equal(all[0].Result, text);

        static async Task<string> Text()
        {
            var text = "";
            var request = new Request("The") { ["max_tokens"] = 12, ["temperature"] = 0, ["ignore_eos"] = true };
            await foreach (var piece in Fixtures.Random.StreamAsync(request)) text += piece;
            return text;
        }
    });

    [Test]
    static void Segments_are_awaited() => Waits(async () =>
    {
        var text = "";
        await foreach (var segment in Fixtures.Whisper.TranscribeStreamAsync(Fixtures.Jfk)) text += segment.Text;
        Assert.Contains("ask what you can do for your country", text);
    });

    [Test]
    static void A_collection_in_the_middle_takes_nothing_away() => Waits(async () =>
    {
        var pieces = 0;
        await foreach (var piece in Fixtures.Load(Fixtures.Tiny, null, new Engine())
            .StreamAsync(new Request("The") { ["max_tokens"] = 40, ["ignore_eos"] = true, ["seed"] = 1 }))
        {
            Fixtures.Collect();
            pieces++;
        }
        Assert.True(pieces > 5, $"{pieces} pieces");
    });
}
#endif
