// A loaded model: what it can be asked, and what it can do without waiting for a job.

using System;
using System.Collections.Generic;
using Fluid.Native.Interop;

namespace Fluid.Native
{
    /// <summary>A loaded model. <see cref="Engine.LoadModel"/> makes one.</summary>
    /// <remarks>Any thread may call anything; jobs of one model run together. Disposing it cancels its jobs, also while
    /// other threads wait for them: their calls end with a <see cref="FluidCanceledException"/>.</remarks>
    public sealed partial class Model : IDisposable
    {
        private readonly ModelHandle handle;
        // Its finalizer would free this model too.
        private readonly Engine engine;

        internal Model(IntPtr handle, Engine engine)
        {
            this.handle = new ModelHandle(handle);
            this.engine = engine;
        }

        /// <summary>The engine that loaded it.</summary>
        public Engine Engine => engine;

        /// <summary>Describes the model: <c>name</c>, <c>capabilities</c>, <c>context_length</c>, <c>device</c>,
        /// <c>memory</c> and more, see fluid.h.</summary>
        public Json Info() => Taken(Call.Make(NativeMethods.fluid_model_info, handle));

        /// <summary>Makes tokens of a text.</summary>
        /// <param name="text">The text.</param>
        /// <param name="addSpecial">Add the tokens that the model wants around a text.</param>
        /// <param name="parseSpecial">Read special tokens that the text spells out as such.</param>
        public int[] Tokenize(string text, bool addSpecial = false, bool parseSpecial = true)
        {
            var request = new Request
            {
                ["content"] = text ?? throw new ArgumentNullException(nameof(text)),
                ["add_special"] = addSpecial,
                ["parse_special"] = parseSpecial,
            };
            var found = Tokenize(request)["tokens"];
            var tokens = new int[found.Count];
            for (var i = 0; i < tokens.Length; i++) tokens[i] = (int)found[i];
            return tokens;
        }

        /// <summary>The tokens of the prompt that a generation would begin with: what a chat costs, and what it looks
        /// like behind the model's template.</summary>
        /// <returns><c>tokens</c>, <c>count</c> and <c>prompt</c>.</returns>
        public Json Tokenize(Request request) => Ask(NativeMethods.fluid_tokenize, request);

        /// <summary>Makes a text of tokens.</summary>
        /// <param name="tokens">Their ids.</param>
        /// <param name="special">Spell out tokens that are no text.</param>
        public string Detokenize(IEnumerable<int> tokens, bool special = true)
        {
            if (tokens == null) throw new ArgumentNullException(nameof(tokens));
            var request = new Request { ["tokens"] = tokens, ["special"] = special };
            return (string)Ask(NativeMethods.fluid_detokenize, request)["content"];
        }

        /// <summary>Starts a generation.</summary>
        public Job StartGenerate(Request request)
        {
            if (request == null) throw new ArgumentNullException(nameof(request));
            return Start(NativeMethods.fluid_generate_start, request);
        }

        /// <summary>Starts a transcription. The audio is copied, but the file of a path is read later.</summary>
        public Job StartTranscribe(Audio audio, Options options = null)
        {
            if (audio == null) throw new ArgumentNullException(nameof(audio));
            return new Job(audio.Start(handle, options?.ToString()), this);
        }

        /// <summary>Starts to embed; <see cref="Job.GetEmbeddings"/> has the vectors.</summary>
        public Job StartEmbed(IEnumerable<string> texts, Options options = null)
        {
            if (texts == null) throw new ArgumentNullException(nameof(texts));
            return StartEmbed(With(options, "input", texts));
        }

        /// <summary>Starts to embed.</summary>
        /// <param name="request">All fields of <c>fluid_embed</c>; <c>input</c> may be token ids.</param>
        public Job StartEmbed(Options request)
        {
            if (request == null) throw new ArgumentNullException(nameof(request));
            return Start(NativeMethods.fluid_embed_start, request);
        }

        /// <summary>Starts to rank documents.</summary>
        public Job StartRerank(string query, IEnumerable<string> documents, Options options = null)
        {
            if (query == null) throw new ArgumentNullException(nameof(query));
            if (documents == null) throw new ArgumentNullException(nameof(documents));
            return StartRerank(With(With(options, "query", query), "documents", documents));
        }

        /// <summary>Starts to rank documents.</summary>
        /// <param name="request">All fields of <c>fluid_rerank</c>; <c>documents</c> may be objects with a
        /// <c>text</c>.</param>
        public Job StartRerank(Options request)
        {
            if (request == null) throw new ArgumentNullException(nameof(request));
            return Start(NativeMethods.fluid_rerank_start, request);
        }

        /// <summary>Starts to save what the KV cache holds of a prompt.</summary>
        public Job StartSaveState(Request request, string path)
        {
            if (request == null) throw new ArgumentNullException(nameof(request));
            Utf8.Checked(path, nameof(path));
            return new Job(
                Call.Make(NativeMethods.fluid_model_save_state_start, handle, request.ToString(), path), this);
        }

        /// <summary>Starts to restore what was saved.</summary>
        public Job StartRestoreState(string path)
        {
            Utf8.Checked(path, nameof(path));
            return new Job(Call.Make(NativeMethods.fluid_model_restore_state_start, handle, path), this);
        }

        /// <summary>Frees the model: its jobs end as cancelled. A second time does nothing.</summary>
        public void Dispose() => handle.Dispose();

        private static Options With(Options options, string field, object value)
        {
            var all = new Options();
            all.AddAll(options);
            all[field] = value;
            return all;
        }

        private Job Start(AskWithTextShape function, Fields request) =>
            new Job(Call.Make(function, handle, request.ToString()), this);

        private Json Ask(AskWithTextShape function, Request request)
        {
            if (request == null) throw new ArgumentNullException(nameof(request));
            return Taken(Call.Make(function, handle, request.ToString()));
        }

        /// The handle alone does not hold the engine, whose finalizer would free the model during the call.
        private Json Taken(IntPtr text)
        {
            GC.KeepAlive(this);
            return Json.Parse(Utf8.Take(text));
        }
    }
}
