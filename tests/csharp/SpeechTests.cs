// Transcription: of files, bytes and samples, whole and streamed.

using System;
using System.IO;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Fluid.Native;

static class SpeechTests
{
    const string Said = "ask what you can do for your country";

    [Test]
    static void A_file_is_written_down()
    {
        var languages = 0;
        var heard = Fixtures.Whisper.Transcribe(Fixtures.Jfk, null, said =>
        {
            if (said.Kind == FluidEventKind.Language) languages++;
            return true;
        });
        Assert.Contains(Said, heard.Text);
        Assert.Equal(1, languages);
        Assert.True(heard.Segments.Count > 0, "segments");
        Assert.True(heard.Segments.Last().End > TimeSpan.FromSeconds(9), "their times");
        Assert.Contains(Said, string.Concat(heard.Segments.Select(segment => segment.Text)));
    }

    [Test]
    static void Bytes_and_samples_say_the_same()
    {
        int rate;
        var samples = Fixtures.Samples(Fixtures.Jfk, out rate);
        var options = new Options { ["language"] = "en", ["response_format"] = "text", ["temperature"] = new[] { 0 } };
        var text = Fixtures.Whisper.Transcribe(File.ReadAllBytes(Fixtures.Jfk), options).Body;
        Assert.Contains(Said, text);
        Assert.Equal(text, Fixtures.Whisper.Transcribe(Audio.FromSamples(samples, rate), options).Text);
        var stereo = samples.SelectMany(sample => new[] { sample / 32768f, sample / 32768f }).ToArray();
        Assert.Contains(Said, Fixtures.Whisper.Transcribe(Audio.FromSamples(stereo, rate, 2), options).Text);
        using (var file = File.OpenRead(Fixtures.Jfk))
            Assert.Equal(text, Fixtures.Whisper.Transcribe(Audio.FromStream(file), options).Text);
    }

    [Test]
    static void Formats_and_words_pass_through()
    {
        var words = Fixtures.Whisper.Transcribe(
            Fixtures.Jfk, new Options { ["response_format"] = "verbose_json", ["timestamp_granularities"] = new[] { "word" } });
        Assert.True(words.Json["words"].Count > 15, "words");
        Assert.Equal("country", ((string)words.Json["words"].Last()["word"]).Trim(' ', '.'));
        Assert.Contains("-->", Fixtures.Whisper.Transcribe(Fixtures.Jfk, new Options { ["response_format"] = "srt" }).Body);
    }

    [Test]
    static void Segments_are_streamed()
    {
        Assert.Contains(Said, string.Concat(Fixtures.Whisper.TranscribeStream(Fixtures.Jfk).Select(segment => segment.Text)));
        foreach (var segment in Fixtures.Whisper.TranscribeStream(Fixtures.Jfk)) break;
        Fixtures.AllJobsEnd(Fixtures.WhisperBase);
    }

    [Test]
    static void A_token_cancels()
    {
        using (var source = new CancellationTokenSource())
        {
            var task = Fixtures.Whisper.TranscribeAsync(Fixtures.Jfk, null, null, source.Token);
            source.CancelAfter(30);
            Assert.Throws<FluidCanceledException>(() => task.GetAwaiter().GetResult());
            Assert.True(task.IsCanceled, "cancelled");
        }
    }

    [Test]
    static void Wrong_audio_is_an_error_of_its_own()
    {
        Assert.Throws<FluidNotFoundException>(() => Fixtures.Whisper.Transcribe("no such.wav"));
        Assert.Throws<FluidInvalidAudioException>(() => Fixtures.Whisper.Transcribe(new byte[] { 1, 2, 3 }));
        Assert.Throws<FluidInvalidRequestException>(() => Fixtures.Whisper.Transcribe(Audio.FromSamples(new float[160], 1)));
        Assert.Throws<FluidInvalidRequestException>(
            () => Fixtures.Whisper.Transcribe(Fixtures.Jfk, new Options { ["response_format"] = "docx" }));
        Assert.Throws<FluidUnsupportedException>(() => Fixtures.Random.Transcribe(Fixtures.Jfk));
        Assert.Throws<ArgumentNullException>(() => Fixtures.Whisper.Transcribe(null));
        Assert.Equal("", Fixtures.Whisper.Transcribe(Audio.FromSamples(new float[16000], 16000)).Text.Trim());
    }

    /// Memory that is never touched costs nothing.
    [Test]
    static void More_than_two_gigabytes_of_samples_can_be_named()
    {
        Audio.FromSamples(new float[1 << 29], 48000, 2);
    }

    [Test]
    static void Two_models_work_at_once()
    {
        var answer = Fixtures.Chat.GenerateAsync(Fixtures.Greedy("What is the capital of France? Answer in one word.", 16));
        var heard = Fixtures.Whisper.TranscribeAsync(Fixtures.Jfk);
        Assert.True(Task.WaitAll(new Task[] { answer, heard }, 60000), "both end");
        Assert.Contains("Paris", answer.Result.Text);
        Assert.Contains(Said, heard.Result.Text);
    }
}
