// Tasks: one reading thread for all, cancellation, progress.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Fluid.Native;

static class AsyncTests
{
    /// Hands each report on where it is made, unlike Progress.
    sealed class Each<T> : IProgress<T>
    {
        readonly Action<T> act;

        internal Each(Action<T> act)
        {
            this.act = act;
        }

        public void Report(T value) => act(value);
    }

    static T Result<T>(Task<T> task)
    {
        Assert.True(Task.WaitAny(new Task[] { task }, 30000) == 0, "the task ends");
        return task.GetAwaiter().GetResult();
    }

    [Test]
    static void Everything_can_be_awaited()
    {
        Assert.True(Result(Act()), "done");
    }

    static async Task<bool> Act()
    {
        var progress = new List<double>();
        using (var model = await Fixtures.Engine.LoadModelAsync(Fixtures.Tiny, null, new Each<double>(progress.Add)))
        {
            Assert.True(progress.Count > 0, "the load's progress");
            var answer = await model.GenerateAsync(new Request("a") { ["max_tokens"] = 3, ["ignore_eos"] = true });
            Assert.Equal(3, answer.CompletionTokens);
            var state = System.IO.Path.GetTempFileName();
            Assert.True((int)(await model.SaveStateAsync("a b c d", state))["tokens"] > 0, "saved");
            Assert.True((int)(await model.RestoreStateAsync(state))["tokens"] > 0, "restored");
            System.IO.File.Delete(state);
        }
        var vectors = await Fixtures.Embedder.EmbedAsync(new[] { "a", "b" });
        Assert.Equal(2, vectors.Count);
        var ranked = await Fixtures.Ranker.RerankAsync("a", new[] { "b", "c", "d" });
        Assert.Equal(3, ranked["results"].Count);
        return true;
    }

    [Test]
    static void Errors_come_out_of_the_task()
    {
        Assert.Throws<FluidNotFoundException>(() => Result(Fixtures.Engine.LoadModelAsync("no/such.gguf")));
        Assert.Throws<FluidInvalidRequestException>(
            () => Result(Fixtures.Random.GenerateAsync(new Request("a") { ["temperature"] = -1 })));
        Assert.Throws<FluidInvalidModelException>(() => Result(Fixtures.Engine.LoadModelAsync(Fixtures.Jfk)));
        // Not out of the call, or those started before it would be lost to `Task.WhenAll`.
        var ranked = Fixtures.Random.RerankAsync("a", new[] { "b" });
        Assert.Throws<FluidUnsupportedException>(() => Result(ranked));
        var saved = Fixtures.Random.SaveStateAsync(null, "path");
        Assert.Throws<ArgumentNullException>(() => Result(saved));
        var restored = Fixtures.Embedder.RestoreStateAsync(null);
        Assert.Throws<ArgumentNullException>(() => Result(restored));
    }

    [Test]
    static void A_token_cancels_within_100_ms_and_the_task_is_cancelled()
    {
        Fixtures.Chat.Info();
        var slowest = 0L;
        for (var i = 0; i < 5; i++)
        {
            using (var source = new CancellationTokenSource())
            using (var first = new ManualResetEventSlim())
            {
                var task = Fixtures.Chat.GenerateAsync(
                    Fixtures.Endless(), new Each<FluidEvent>(said => first.Set()), source.Token);
                Assert.True(first.Wait(10000), "it generates");
                var watch = Stopwatch.StartNew();
                source.Cancel();
                var e = Assert.Throws<FluidCanceledException>(() => Result(task));
                slowest = Math.Max(slowest, watch.ElapsedMilliseconds);
                Assert.True(task.IsCanceled, "as .NET wants it");
                Assert.Equal(source.Token, e.CancellationToken);
                Assert.Equal("cancelled", Completion.Parse(e.PartialResult).FinishReason);
            }
        }
        Assert.True(slowest <= 100, $"the slowest took {slowest} ms");
    }

    [Test]
    static void A_token_that_was_cancelled_before_ends_it_too()
    {
        var cancelled = new CancellationToken(true);
        Assert.Throws<FluidCanceledException>(() => Result(Fixtures.Random.GenerateAsync(Fixtures.Endless(), null, cancelled)));
        Assert.Throws<FluidCanceledException>(() => Result(Fixtures.Engine.LoadModelAsync(Fixtures.Smol, null, null, cancelled)));
    }

    [Test]
    static void What_a_progress_throws_ends_the_task()
    {
        var thrown = new TimeZoneNotFoundException("mine");
        var caught = Assert.Throws<TimeZoneNotFoundException>(() => Result(
            Fixtures.Random.GenerateAsync(Fixtures.Endless(), new Each<FluidEvent>(said => { throw thrown; }))));
        Assert.True(ReferenceEquals(thrown, caught), "the same exception");
        Fixtures.AllJobsEnd(Fixtures.Tiny);
        Assert.Throws<TimeZoneNotFoundException>(() => Result(
            Fixtures.Engine.LoadModelAsync(Fixtures.Smol, null, new Each<double>(said => { throw thrown; }))));
    }

    [Test]
    static void Fifty_tasks_share_one_reading_thread()
    {
        var readers = new HashSet<int>();
        var request = new Request("The") { ["max_tokens"] = 12, ["temperature"] = 0, ["ignore_eos"] = true };
        var wanted = Fixtures.Random.Generate(request).Text;
        var tasks = Enumerable.Range(0, 50).Select(_ => Fixtures.Random.GenerateAsync(request, new Each<FluidEvent>(said =>
        {
            lock (readers) readers.Add(Thread.CurrentThread.ManagedThreadId);
        }))).ToArray();
        foreach (var answer in Result(Task.WhenAll(tasks))) Assert.Equal(wanted, answer.Text);
        Assert.Equal(1, readers.Count);
    }

    /// What awaits runs elsewhere, or a task that waits for another would stop all.
    [Test]
    static void What_awaits_a_task_may_wait_for_another()
    {
        var request = new Request("a") { ["max_tokens"] = 2 };
        var chained = Fixtures.Random.GenerateAsync(request).ContinueWith(
            _ => Fixtures.Random.GenerateAsync(request).Result, TaskContinuationOptions.ExecuteSynchronously);
        Assert.True(Result(chained).CompletionTokens > 0, "both end");
    }

    [Test]
    static void Disposing_a_model_cancels_its_tasks()
    {
        var model = Fixtures.Load(Fixtures.Tiny);
        var tasks = Enumerable.Range(0, 20).Select(_ => model.GenerateAsync(Fixtures.Endless())).ToArray();
        Thread.Sleep(50);
        model.Dispose();
        foreach (var task in tasks) Assert.Throws<FluidCanceledException>(() => Result(task));
    }

    /// Nobody holds the job or its task: the reading thread does.
    [Test]
    static void A_task_that_is_left_alone_runs_to_its_end()
    {
        var seen = 0;
        Leave(new Each<FluidEvent>(said => Interlocked.Increment(ref seen)));
        Fixtures.Collect();
        Assert.Within(10000, "all its tokens come", () => Volatile.Read(ref seen) >= 40);
    }

    static void Leave(IProgress<FluidEvent> events)
    {
        Fixtures.Random.GenerateAsync(new Request("a") { ["max_tokens"] = 40, ["ignore_eos"] = true }, events);
    }

    [Test]
    static void A_job_whose_end_was_read_cannot_be_awaited()
    {
        using (var job = Fixtures.Random.StartGenerate(new Request("a") { ["max_tokens"] = 2 }))
        {
            job.Run();
            for (var i = 0; i < 2; i++) Assert.Throws<InvalidOperationException>(() => Result(job.RunAsync()));
        }
    }

    /// The dispatcher refuses it as long as another has it.
    [Test]
    static void A_job_that_could_not_be_awaited_can_be_later()
    {
        using (var job = Fixtures.Random.StartGenerate(new Request("a") { ["max_tokens"] = 2 }))
        {
            using (var queue = new JobQueue())
            {
                queue.Attach(job);
                Assert.Throws<FluidBusyException>(() => Result(job.RunAsync()));
            }
            Assert.Equal(FluidStatus.Ok, Result(job.RunAsync()).Status);
        }
    }

    /// And so nobody is told of an exception that was never looked at.
    [Test]
    static void The_task_of_a_cancelled_job_is_cancelled_not_faulted()
    {
        using (var job = Fixtures.Random.StartGenerate(Fixtures.Endless()))
        {
            var task = job.RunAsync();
            job.Cancel();
            var e = Assert.Throws<FluidCanceledException>(() => Result(task));
            Assert.Equal("cancelled", Completion.Parse(e.PartialResult).FinishReason);
            Assert.Equal(TaskStatus.Canceled, task.Status);
        }
    }

    [Test]
    static void A_second_task_does_not_cancel_the_job_of_the_first()
    {
        using (var job = Fixtures.Random.StartGenerate(new Request("a") { ["max_tokens"] = 40, ["ignore_eos"] = true }))
        {
            var first = job.RunAsync();
            Assert.Throws<FluidBusyException>(() => Result(job.RunAsync(null, new CancellationToken(true))));
            Assert.Equal(FluidStatus.Ok, Result(first).Status);
        }
    }

    [Test]
    static void A_job_that_is_disposed_while_it_is_awaited_is_cancelled()
    {
        var job = Fixtures.Random.StartGenerate(Fixtures.Endless());
        var task = job.RunAsync();
        Assert.Throws<FluidBusyException>(() => Result(job.RunAsync()));
        job.Dispose();
        Assert.Throws<FluidCanceledException>(() => Result(task));
        Fixtures.AllJobsEnd(Fixtures.Tiny);
    }
}
