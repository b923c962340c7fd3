// Jobs and queues, the low level.

using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Fluid.Native;

static class JobTests
{
    static Request Short => new Request("a") { ["max_tokens"] = 5, ["ignore_eos"] = true };

    static Request Long => new Request("a") { ["max_tokens"] = 200, ["ignore_eos"] = true };

    [Test]
    static void A_job_is_polled()
    {
        using (var job = Fixtures.Random.StartGenerate(Short))
        {
            var kinds = new List<FluidEventKind>();
            while (!job.HasEnded)
            {
                var said = job.Next(1000);
                if (said != null) kinds.Add(said.Kind);
            }
            Assert.Equal(5, kinds.Count(kind => kind == FluidEventKind.Token));
            Assert.Equal(FluidEventKind.End, kinds.Last());
            Assert.Equal(null, job.Next());
            Assert.Equal(5, Completion.Parse(job.GetResult()).CompletionTokens);
            Assert.Throws<FluidInvalidRequestException>(() => job.GetEmbeddings());
            Assert.Throws<FluidInvalidRequestException>(() => job.TakeModel());
        }
    }

    [Test]
    static void Events_say_what_they_know()
    {
        var request = Short;
        request["logprobs"] = 1;
        using (var job = Fixtures.Random.StartGenerate(request))
        {
            var events = job.Events().ToList();
            var token = events.First(said => said.Kind == FluidEventKind.Token);
            Assert.True(token.Token >= 0 && token.Logprob < 0 && token.Choice == 0, token.ToString());
            Assert.True(Json.Parse(token.Json).Count > 0, "log-probabilities");
            Assert.True(token.Elapsed > TimeSpan.Zero && token.Age >= TimeSpan.Zero, "times");
            Assert.Equal(1.0, events.Last().Progress);
            Assert.Equal(0, job.Events().Count(), "once");
        }
    }

    [Test]
    static void A_running_job_has_no_result_and_one_reader()
    {
        using (var job = Fixtures.Random.StartGenerate(Fixtures.Endless()))
        {
            Assert.Throws<FluidBusyException>(() => job.GetResult());
            job.Cancel();
            Assert.Throws<FluidCanceledException>(() => job.Run());
            Assert.Equal("cancelled", Completion.Parse(job.GetResult()).FinishReason);
        }
    }

    [Test]
    static void Leaving_the_loop_over_events_cancels_the_job()
    {
        using (var job = Fixtures.Random.StartGenerate(Fixtures.Endless()))
        {
            foreach (var said in job.Events()) break;
            Assert.Throws<FluidCanceledException>(() => job.Run());
        }
    }

    /// What was refused has no say over the job, nor has its token.
    [Test]
    static void Who_may_not_read_a_job_does_not_cancel_it()
    {
        var cancelled = new CancellationToken(true);
        using (var job = Fixtures.Random.StartGenerate(Long))
        {
            var first = job.RunAsync();
            Assert.Throws<FluidBusyException>(() => job.Run());
            Assert.Throws<FluidBusyException>(() => job.Events(cancelled).Count());
            Assert.Equal(FluidStatus.Ok, first.GetAwaiter().GetResult().Status);
        }
        using (var queue = new JobQueue())
        using (var job = Fixtures.Random.StartGenerate(Long))
        {
            queue.Attach(job);
            Assert.Throws<FluidBusyException>(() => job.RunAsync(null, cancelled).GetAwaiter().GetResult());
            Assert.Throws<FluidBusyException>(() => job.Events(cancelled).Count());
            FluidEvent said;
            Job from;
            do said = queue.Next(out from, 20000);
            while (said.Kind != FluidEventKind.End);
            Assert.Equal(FluidStatus.Ok, said.Status);
        }
    }

    [Test]
    static void Disposing_a_job_ends_the_wait_for_it()
    {
        var job = Fixtures.Engine.StartEvents();
        FluidEvent last = null;
        var reader = Fixtures.Started(() => last = job.Next());
        Thread.Sleep(50);
        Assert.Throws<FluidBusyException>(() => job.Next(0));
        job.Dispose();
        Fixtures.Joins(reader);
        Assert.Equal(FluidStatus.Cancelled, last.Status);
        Assert.Throws<ObjectDisposedException>(() => job.Next());
    }

    [Test]
    static void A_queue_delivers_the_events_of_many()
    {
        using (var queue = new JobQueue())
        {
            var jobs = Enumerable.Range(0, 10).Select(_ => Fixtures.Random.StartGenerate(Short)).ToList();
            jobs.ForEach(queue.Attach);
            Assert.Throws<FluidBusyException>(() => queue.Attach(jobs[0]));
            var tokens = jobs.ToDictionary(job => job, job => 0);
            for (var left = jobs.Count; left > 0;)
            {
                Job job;
                var said = queue.Next(out job, 20000);
                Assert.True(said != null, "in time");
                if (said.Kind == FluidEventKind.Token) tokens[job]++;
                if (said.Kind == FluidEventKind.End) left--;
            }
            Assert.True(tokens.Values.All(count => count == 5) && jobs.All(job => job.HasEnded), "all of each");
            Job none;
            Assert.Equal(null, queue.Next(out none, 0));
            jobs.ForEach(job => job.Dispose());
        }
    }

    [Test]
    static void A_queue_refuses_a_job_whose_end_was_read()
    {
        using (var queue = new JobQueue())
        {
            var job = Fixtures.Random.StartGenerate(Short);
            job.Run();
            Assert.Throws<InvalidOperationException>(() => queue.Attach(job));
            job.Dispose();
            Assert.Throws<ObjectDisposedException>(() => job.GetResult());
        }
    }

    [Test]
    static void Disposing_a_queue_ends_the_wait_and_leaves_the_jobs()
    {
        var queue = new JobQueue();
        var job = Fixtures.Random.StartGenerate(Short);
        queue.Attach(job);
        Exception caught = null;
        var reader = Fixtures.Started(() =>
        {
            try
            {
                Job from;
                for (;;) queue.Next(out from);
            }
            catch (Exception e)
            {
                caught = e;
            }
        });
        Assert.Within(10000, "the job ends", () => job.HasEnded);
        Thread.Sleep(20);
        Job no;
        Assert.Throws<FluidBusyException>(() => queue.Next(out no, 0));
        queue.Dispose();
        queue.Dispose();
        Fixtures.Joins(reader);
        Assert.True(caught is ObjectDisposedException, $"came {caught}");
        job.Dispose();

        var unread = new JobQueue();
        var other = Fixtures.Random.StartGenerate(Short);
        unread.Attach(other);
        unread.Dispose();
        Assert.Equal(FluidStatus.Ok, other.Run().Status);
        other.Dispose();
    }

    [Test]
    static void A_job_of_a_queue_can_be_disposed_at_any_time()
    {
        using (var queue = new JobQueue())
        {
            var jobs = Enumerable.Range(0, 8).Select(_ => Fixtures.Random.StartGenerate(Fixtures.Endless())).ToList();
            jobs.ForEach(queue.Attach);
            var stopper = Fixtures.Started(() => jobs.ForEach(job =>
            {
                Thread.Sleep(5);
                job.Dispose();
            }));
            for (var left = jobs.Count; left > 0;)
            {
                Job job;
                if (queue.Next(out job, 20000).Kind == FluidEventKind.End) left--;
            }
            Fixtures.Joins(stopper);
        }
        Fixtures.AllJobsEnd(Fixtures.Tiny);
    }
}
