// What a model does: each act as a call that waits, as a stream, and as a task.

using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace Fluid.Native
{
    public sealed partial class Model
    {
        /// <summary>Generates an answer and waits for its end.</summary>
        /// <param name="request">A prompt, messages, or a whole request.</param>
        /// <param name="onEvent">Gets tokens and more as they come, on this thread; false ends the answer there. What it
        /// throws comes out of this call, and the generation is cancelled.</param>
        /// <exception cref="FluidInvalidRequestException">A field is wrong; the message names it.</exception>
        /// <exception cref="FluidContextOverflowException">The prompt is too long.</exception>
        /// <exception cref="FluidQueueFullException">Too many jobs wait.</exception>
        /// <exception cref="FluidDeadlineException">Its <c>deadline_ms</c> passed.</exception>
        /// <exception cref="FluidCanceledException">The model or its engine was disposed meanwhile.</exception>
        public Completion Generate(Request request, Func<FluidEvent, bool> onEvent = null)
        {
            using (var job = StartGenerate(request)) return Completion.Parse(job.Run(onEvent).Json);
        }

        /// <summary>Generates an answer: see <see cref="Generate"/>.</summary>
        /// <param name="request">A prompt, messages, or a whole request.</param>
        /// <param name="events">Gets tokens and more as they come; see <see cref="Job.RunAsync"/>.</param>
        /// <param name="cancellationToken">Cancels the generation; the error has what came so far.</param>
        public async Task<Completion> GenerateAsync(
            Request request, IProgress<FluidEvent> events = null,
            CancellationToken cancellationToken = default(CancellationToken))
        {
            using (var job = StartGenerate(request))
                return Completion.Parse((await job.RunAsync(events, cancellationToken).ConfigureAwait(false)).Json);
        }

        /// <summary>
        /// The pieces of an answer as they come, each whole text. The generation starts with the loop and is cancelled
        /// when the loop is left; each loop over it is a generation of its own. Of several choices it has the first;
        /// for reasoning and calls of tools read the events of <see cref="StartGenerate"/>.
        /// </summary>
        /// <param name="request">A prompt, messages, or a whole request.</param>
        /// <param name="cancellationToken">Ends the loop with a <see cref="FluidCanceledException"/>.</param>
        public IEnumerable<string> Stream(
            Request request, CancellationToken cancellationToken = default(CancellationToken))
        {
            if (request == null) throw new ArgumentNullException(nameof(request));
            return Pieces(request, cancellationToken);
        }

        private IEnumerable<string> Pieces(Request request, CancellationToken cancellationToken)
        {
            using (var job = StartGenerate(request))
                foreach (var said in job.Events(cancellationToken))
                    if (IsPiece(said)) yield return said.Text;
        }

        private static bool IsPiece(FluidEvent said) =>
            said.Kind == FluidEventKind.Token && said.Choice == 0 && said.Text.Length > 0;

        /// <summary>Writes down the speech in a recording and waits for the end.</summary>
        /// <param name="audio">A path, an audio file's bytes, or samples: see <see cref="Audio"/>.</param>
        /// <param name="options"><c>language</c>, <c>task</c>, <c>response_format</c> and others of
        /// <c>fluid_transcribe</c>.</param>
        /// <param name="onEvent">Gets segments and progress as they come, on this thread; false ends the transcription
        /// there.</param>
        /// <exception cref="FluidNotFoundException">The file is not there.</exception>
        /// <exception cref="FluidInvalidAudioException">It holds no audio that this build knows.</exception>
        /// <exception cref="FluidInvalidRequestException">An option is wrong, or the samples' rate is.</exception>
        public Transcript Transcribe(Audio audio, Options options = null, Func<FluidEvent, bool> onEvent = null)
        {
            var segments = new List<Segment>();
            using (var job = StartTranscribe(audio, options))
            {
                var end = job.Run(said =>
                {
                    if (said.Kind == FluidEventKind.Segment) segments.Add(new Segment(said));
                    return onEvent == null || onEvent(said);
                });
                return Transcript.Of(end.Json, segments);
            }
        }

        /// <summary>Writes down the speech in a recording: see <see cref="Transcribe"/>.</summary>
        /// <param name="audio">A path, an audio file's bytes, or samples.</param>
        /// <param name="options">Those of <c>fluid_transcribe</c>.</param>
        /// <param name="events">Gets segments and progress as they come; see <see cref="Job.RunAsync"/>.</param>
        /// <param name="cancellationToken">Cancels the transcription; the error has what came so far.</param>
        public async Task<Transcript> TranscribeAsync(
            Audio audio, Options options = null, IProgress<FluidEvent> events = null,
            CancellationToken cancellationToken = default(CancellationToken))
        {
            var collector = new SegmentCollector(events);
            using (var job = StartTranscribe(audio, options))
            {
                var end = await job.RunAsync(collector, cancellationToken).ConfigureAwait(false);
                return Transcript.Of(end.Json, collector.Segments);
            }
        }

        /// <summary>The segments of a recording as they are decided. The transcription starts with the loop and is
        /// cancelled when the loop is left.</summary>
        /// <param name="audio">A path, an audio file's bytes, or samples.</param>
        /// <param name="options">Those of <c>fluid_transcribe</c>.</param>
        /// <param name="cancellationToken">Ends the loop with a <see cref="FluidCanceledException"/>.</param>
        public IEnumerable<Segment> TranscribeStream(
            Audio audio, Options options = null, CancellationToken cancellationToken = default(CancellationToken))
        {
            if (audio == null) throw new ArgumentNullException(nameof(audio));
            return Segments(audio, options, cancellationToken);
        }

        private IEnumerable<Segment> Segments(Audio audio, Options options, CancellationToken cancellationToken)
        {
            using (var job = StartTranscribe(audio, options))
                foreach (var said in job.Events(cancellationToken))
                    if (said.Kind == FluidEventKind.Segment) yield return new Segment(said);
        }

        /// <summary>Turns texts into vectors and waits for the end.</summary>
        /// <param name="texts">1 to 65,536 texts, none empty.</param>
        /// <param name="options"><c>dimensions</c>, <c>pooling</c>, <c>truncate</c> and others of
        /// <c>fluid_embed</c>.</param>
        /// <param name="onEvent">Gets progress; false ends it: then the vectors are those of the first texts.</param>
        /// <exception cref="FluidUnsupportedException">The model does not embed.</exception>
        /// <exception cref="FluidInvalidRequestException">A text is too long or empty.</exception>
        public Embeddings Embed(
            IEnumerable<string> texts, Options options = null, Func<FluidEvent, bool> onEvent = null)
        {
            using (var job = StartEmbed(texts, options))
            {
                job.Run(onEvent);
                return job.GetEmbeddings();
            }
        }

        /// <summary>Turns a text into a vector.</summary>
        public float[] Embed(string text, Options options = null)
        {
            if (text == null) throw new ArgumentNullException(nameof(text));
            return Embed(new[] { text }, options)[0];
        }

        /// <summary>Turns texts into vectors: see <see cref="Embed(IEnumerable{string}, Options,
        /// Func{FluidEvent, bool})"/>.</summary>
        public async Task<Embeddings> EmbedAsync(
            IEnumerable<string> texts, Options options = null, IProgress<double> progress = null,
            CancellationToken cancellationToken = default(CancellationToken))
        {
            using (var job = StartEmbed(texts, options))
            {
                await job.RunAsync(ProgressOnly.Of(progress), cancellationToken).ConfigureAwait(false);
                return job.GetEmbeddings();
            }
        }

        /// <summary>Ranks documents by how well they answer a query, and waits for the end.</summary>
        /// <param name="query">What is asked.</param>
        /// <param name="documents">1 to 65,536 texts.</param>
        /// <param name="options"><c>top_n</c> and others of <c>fluid_rerank</c>.</param>
        /// <param name="onEvent">Gets progress; false ends it.</param>
        /// <returns><c>results</c>, the best first, each with <c>index</c> and <c>relevance_score</c>.</returns>
        /// <exception cref="FluidUnsupportedException">The model does not rank.</exception>
        public Json Rerank(
            string query, IEnumerable<string> documents, Options options = null,
            Func<FluidEvent, bool> onEvent = null)
        {
            using (var job = StartRerank(query, documents, options)) return Json.Parse(job.Run(onEvent).Json);
        }

        /// <summary>Ranks documents: see <see cref="Rerank"/>.</summary>
        public async Task<Json> RerankAsync(
            string query, IEnumerable<string> documents, Options options = null, IProgress<double> progress = null,
            CancellationToken cancellationToken = default(CancellationToken))
        {
            using (var job = StartRerank(query, documents, options))
                return await ResultOf(job, progress, cancellationToken).ConfigureAwait(false);
        }

        /// <summary>Saves what the KV cache holds of a prompt to a file, so that a later process that restores it need not
        /// compute the prompt again.</summary>
        /// <param name="request">The prompt, or the messages so far.</param>
        /// <param name="path">An older file there stays until the new one is whole.</param>
        /// <param name="onEvent">Gets progress; false cancels.</param>
        /// <returns><c>tokens</c>, <c>bytes</c>, <c>path</c>; empty where it was cancelled.</returns>
        /// <exception cref="FluidNotFoundException">The folder is not there.</exception>
        /// <exception cref="FluidIOException">The file cannot be written.</exception>
        public Json SaveState(Request request, string path, Func<FluidEvent, bool> onEvent = null)
        {
            using (var job = StartSaveState(request, path)) return Json.Parse(job.Run(onEvent).Json);
        }

        /// <summary>Saves what the KV cache holds of a prompt: see <see cref="SaveState"/>.</summary>
        public async Task<Json> SaveStateAsync(
            Request request, string path, IProgress<double> progress = null,
            CancellationToken cancellationToken = default(CancellationToken))
        {
            using (var job = StartSaveState(request, path))
                return await ResultOf(job, progress, cancellationToken).ConfigureAwait(false);
        }

        /// <summary>Brings back what <see cref="SaveState"/> wrote: the next generation that begins alike finds it.</summary>
        /// <returns><c>tokens</c>, <c>bytes</c>, <c>path</c>; empty where it was cancelled.</returns>
        /// <exception cref="FluidInvalidStateException">The file is of another model or other options, or
        /// damaged.</exception>
        public Json RestoreState(string path, Func<FluidEvent, bool> onEvent = null)
        {
            using (var job = StartRestoreState(path)) return Json.Parse(job.Run(onEvent).Json);
        }

        /// <summary>Brings back what <see cref="SaveState"/> wrote: see <see cref="RestoreState"/>.</summary>
        public async Task<Json> RestoreStateAsync(
            string path, IProgress<double> progress = null,
            CancellationToken cancellationToken = default(CancellationToken))
        {
            using (var job = StartRestoreState(path))
                return await ResultOf(job, progress, cancellationToken).ConfigureAwait(false);
        }

        private static async Task<Json> ResultOf(Job job, IProgress<double> progress, CancellationToken token)
        {
            var end = await job.RunAsync(ProgressOnly.Of(progress), token).ConfigureAwait(false);
            return Json.Parse(end.Json);
        }

        /// Keeps the segments that it hands on.
        private sealed class SegmentCollector : IProgress<FluidEvent>
        {
            private readonly IProgress<FluidEvent> next;

            internal SegmentCollector(IProgress<FluidEvent> next)
            {
                this.next = next;
            }

            internal List<Segment> Segments { get; } = new List<Segment>();

            public void Report(FluidEvent said)
            {
                if (said.Kind == FluidEventKind.Segment) Segments.Add(new Segment(said));
                next?.Report(said);
            }
        }
    }
}
