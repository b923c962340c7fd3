// Generation: whole, streamed, stopped, disposed meanwhile.

using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Fluid.Native;

static class GenerateTests
{
    const string Question = "What is the capital of France? Answer in one word.";

    [Test]
    static void A_chat_is_answered()
    {
        var answer = Fixtures.Chat.Generate(Fixtures.Greedy(Question, 16));
        Assert.Contains("Paris", answer.Text);
        Assert.Equal("stop", answer.FinishReason);
        Assert.True(answer.PromptTokens > 10 && answer.CompletionTokens > 0, "usage");
        Assert.Equal("assistant", (string)answer.Message["role"]);
        Assert.Equal("chat.completion", (string)answer.Json["object"]);
        var next = new List<Message> { Message.User(Question), answer.ToMessage(), Message.User("And of Spain?") };
        Assert.True(Fixtures.Chat.Tokenize(next)["count"] != null, "the answer goes into the next request");
    }

    [Test]
    static void A_stream_has_the_same_text()
    {
        var request = Fixtures.Greedy("Count from one to five.", 24);
        var pieces = Fixtures.Chat.Stream(request).ToList();
        Assert.True(pieces.Count > 5, $"{pieces.Count} pieces");
        Assert.Equal(Fixtures.Chat.Generate(request).Text, string.Concat(pieces));
        Assert.Equal(string.Concat(pieces), string.Concat(Fixtures.Chat.Stream(request)), "a loop of its own");
    }

    [Test]
    static void Fields_pass_through()
    {
        var shape = Json.Parse("{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\",\"maxLength\":20}},"
            + "\"required\":[\"city\"],\"additionalProperties\":false}");
        var request = Fixtures.Greedy(Question, 40);
        request["json_schema"] = shape;
        Assert.True((string)Json.Parse(Fixtures.Chat.Generate(request).Text)["city"] != null, "JSON of the schema");

        var two = new Request("The sky is") { ["n"] = 2, ["max_tokens"] = 4, ["logprobs"] = 1, ["seed"] = 7 };
        var answer = Fixtures.Chat.Generate(two);
        Assert.Equal(2, answer.Json["choices"].Count);
        Assert.True(answer.Text.Length > 0 && answer.Message == null, "a completion");
        var e = Assert.Throws<FluidInvalidRequestException>(
            () => Fixtures.Chat.Generate(new Request("a") { ["temperature"] = "hot" }));
        Assert.Contains("temperature", e.Message);
        Assert.Throws<FluidInvalidRequestException>(() => Fixtures.Chat.Generate(new Request()));
        Assert.Throws<ArgumentNullException>(() => Fixtures.Chat.Generate((Request)null));
    }

    [Test]
    static void Tools_are_called()
    {
        var request = Fixtures.Greedy("What is the weather in Paris?", 64);
        request["tools"] = Json.Parse("[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"parameters\":{\"type\":"
            + "\"object\",\"properties\":{\"city\":{\"type\":\"string\",\"maxLength\":20}},\"required\":[\"city\"]}}}]");
        request["tool_choice"] = "required";
        request["parallel_tool_calls"] = false;
        var kinds = new List<FluidEventKind>();
        var answer = Fixtures.Chat.Generate(request, said => { kinds.Add(said.Kind); return true; });
        Assert.Equal("weather", (string)answer.ToolCalls[0]["function"]["name"]);
        Assert.True(kinds.Contains(FluidEventKind.ToolCall), "events of it came");
        Assert.True(answer.ToMessage()["tool_calls"] != null, "calls stay in the message");
    }

    [Test]
    static void Errors_of_the_prompt_have_their_types()
    {
        Assert.Throws<FluidContextOverflowException>(() => Fixtures.Chat.Generate(string.Concat(Enumerable.Repeat("word ", 3000))));
        Assert.Throws<FluidUnsupportedException>(() => Fixtures.Embedder.Generate("a"));
        using (var engine = new Engine(new Options { ["max_queue"] = 1 }))
        using (var model = Fixtures.Load(Fixtures.Tiny, new Options { ["n_parallel"] = 1 }, engine))
        using (model.StartGenerate(Fixtures.Endless()))
        {
            var jobs = new List<Job>();
            Assert.Throws<FluidQueueFullException>(() => { for (;;) jobs.Add(model.StartGenerate("a")); });
            Assert.True(jobs.Count < 5, "at once");
            jobs.ForEach(job => job.Dispose());
        }
    }

    [Test]
    static void A_deadline_has_the_text_so_far()
    {
        var request = Fixtures.Endless();
        request["deadline_ms"] = 400;
        var e = Assert.Throws<FluidDeadlineException>(() => Fixtures.Chat.Generate(request));
        Assert.Equal("deadline", Completion.Parse(e.PartialResult).FinishReason);
        Assert.True(Completion.Parse(e.PartialResult).Text.Length > 0, "some text");
    }

    [Test]
    static void A_callback_stops()
    {
        var tokens = 0;
        var answer = Fixtures.Chat.Generate(Fixtures.Endless(), said => said.Kind != FluidEventKind.Token || ++tokens < 5);
        Assert.Equal("cancelled", answer.FinishReason);
        Assert.Equal(5, tokens, "not called again:");
        Assert.True(answer.Text.Length > 0, "the text so far");
    }

    [Test]
    static void What_a_callback_throws_comes_out_and_the_job_ends()
    {
        var thrown = new TimeZoneNotFoundException("mine");
        var caught = Assert.Throws<TimeZoneNotFoundException>(() => Fixtures.Chat.Generate(Fixtures.Endless(), said => { throw thrown; }));
        Assert.True(ReferenceEquals(thrown, caught), "the same exception");
        Assert.Contains(nameof(What_a_callback_throws_comes_out_and_the_job_ends), caught.StackTrace);
        Fixtures.AllJobsEnd(Fixtures.Smol);
    }

    [Test]
    static void A_callback_may_call_everything()
    {
        var inner = 0;
        Fixtures.Random.Generate(new Request("a") { ["max_tokens"] = 4, ["ignore_eos"] = true }, said =>
        {
            if (said.Kind != FluidEventKind.Token) return true;
            Fixtures.Random.Info();
            inner += Fixtures.Random.Generate(new Request("b") { ["max_tokens"] = 3, ["ignore_eos"] = true }).CompletionTokens;
            return true;
        });
        Assert.Equal(12, inner);
    }

    [Test]
    static void Leaving_a_stream_cancels_it()
    {
        foreach (var piece in Fixtures.Chat.Stream(Fixtures.Endless()))
        {
            Assert.Equal(1, Fixtures.Jobs(Fixtures.Smol));
            break;
        }
        Fixtures.AllJobsEnd(Fixtures.Smol);
        Assert.Throws<TimeZoneNotFoundException>(() =>
        {
            foreach (var piece in Fixtures.Chat.Stream(Fixtures.Endless())) throw new TimeZoneNotFoundException();
        });
        Fixtures.AllJobsEnd(Fixtures.Smol);
    }

    [Test]
    static void A_token_cancels_a_stream()
    {
        using (var source = new CancellationTokenSource())
        {
            var pieces = 0;
            var e = Assert.Throws<FluidCanceledException>(() =>
            {
                foreach (var piece in Fixtures.Chat.Stream(Fixtures.Endless(), source.Token))
                    if (++pieces == 5) source.Cancel();
            });
            Assert.Equal(source.Token, e.CancellationToken);
            Assert.True(Completion.Parse(e.PartialResult).Text.Length > 0, "the text so far");
            Assert.Throws<FluidCanceledException>(() => Fixtures.Chat.Stream(Fixtures.Endless(), source.Token).Count());
        }
    }

    [Test]
    static void Disposing_a_model_ends_the_calls_of_other_threads()
    {
        var model = Fixtures.Load(Fixtures.Tiny);
        var caught = new List<Exception>();
        var started = new CountdownEvent(4);
        var threads = Enumerable.Range(0, 4).Select(_ => Fixtures.Started(() =>
        {
            var isFirst = true;
            try
            {
                model.Generate(Fixtures.Endless(), said =>
                {
                    if (isFirst) started.Signal();
                    isFirst = false;
                    return true;
                });
            }
            catch (Exception e)
            {
                lock (caught) caught.Add(e);
            }
        })).ToList();
        Assert.True(started.Wait(10000), "all generate");
        model.Dispose();
        threads.ForEach(thread => Fixtures.Joins(thread));
        Assert.Equal(4, caught.OfType<FluidCanceledException>().Count());
    }

    [Test]
    static void Disposing_an_engine_ends_a_stream()
    {
        var engine = new Engine();
        var model = Fixtures.Load(Fixtures.Tiny, null, engine);
        Assert.Throws<FluidCanceledException>(() =>
        {
            foreach (var piece in model.Stream(Fixtures.Endless())) engine.Dispose();
        });
    }

    [Test]
    static void Fifty_threads_generate()
    {
        var texts = new string[50];
        var wanted = Fixtures.Random.Generate(new Request("The") { ["max_tokens"] = 12, ["temperature"] = 0, ["ignore_eos"] = true });
        var threads = Enumerable.Range(0, 50).Select(i => Fixtures.Started(() =>
        {
            var request = new Request("The") { ["max_tokens"] = 12, ["temperature"] = 0, ["ignore_eos"] = true };
            texts[i] = i % 2 == 0 ? Fixtures.Random.Generate(request).Text : string.Concat(Fixtures.Random.Stream(request));
        })).ToList();
        threads.ForEach(thread => Fixtures.Joins(thread));
        foreach (var text in texts) Assert.Equal(wanted.Text, text);
    }

    [Test]
    static void Text_becomes_tokens_and_text_again()
    {
        const string text = "Gr\u00fc\u00dfe, \U0001F642!";
        var tokens = Fixtures.Chat.Tokenize(text);
        Assert.True(tokens.Length > 4, "tokens");
        Assert.Equal(text, Fixtures.Chat.Detokenize(tokens));
        var chat = Fixtures.Chat.Tokenize(new Request(Message.User("Hi")));
        Assert.Contains("<|im_start|>user\nHi", (string)chat["prompt"]);
        Assert.Equal(chat["tokens"].Count, (int)chat["count"]);
    }

    [Test]
    static void A_saved_state_spares_the_prompt()
    {
        Fixtures.WithFolder("state", folder =>
        {
            var prompt = new Request(string.Concat(Enumerable.Repeat("The quick brown fox. ", 20))) { ["max_tokens"] = 1 };
            var path = folder + "/fox.state";
            using (var model = Fixtures.Load(Fixtures.Tiny))
                Assert.True((int)model.SaveState(prompt, path)["tokens"] > 50, "saved");
            using (var model = Fixtures.Load(Fixtures.Tiny))
            {
                Assert.True((int)model.RestoreState(path)["tokens"] > 50, "restored");
                var usage = model.Generate(prompt).Json["usage"]["prompt_tokens_details"];
                Assert.True((int)usage["cached_tokens"] > 50, "found");
                Assert.Throws<FluidInvalidStateException>(() => model.RestoreState(Fixtures.Jfk));
                Assert.Throws<FluidNotFoundException>(() => model.RestoreState(folder + "/none"));
            }
        });
    }
}
