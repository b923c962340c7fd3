// What jobs come to: a completion, a transcript, vectors.

using System;
using System.Collections.Generic;

namespace Fluid.Native
{
    /// <summary>An answer of a model that generates text.</summary>
    public sealed class Completion
    {
        private Completion(Json json)
        {
            Json = json;
        }

        /// <summary>From the result of a job, or the partial one of an error.</summary>
        /// <exception cref="FormatException">It is not JSON.</exception>
        public static Completion Parse(string result) => new Completion(Json.Parse(result));

        /// <summary>OpenAI's whole object, of several choices too.</summary>
        public Json Json { get; }

        private Json Choice => Json["choices"]?[0];

        /// <summary>The message of a chat, as OpenAI has it; null of a raw prompt.</summary>
        public Json Message => Choice?["message"];

        /// <summary>The first choice's text; empty where it has none.</summary>
        public string Text => (string)(Message == null ? Choice?["text"] : Message["content"]) ?? "";

        /// <summary>What the model thought before it answered; empty where it did not.</summary>
        public string Reasoning => (string)Message?["reasoning_content"] ?? "";

        /// <summary>The calls of tools, as OpenAI has them; null where there are none.</summary>
        public Json ToolCalls => Message?["tool_calls"];

        /// <summary>Why it ended: "stop", "length", "tool_calls", "cancelled", "deadline"; null if it never began.</summary>
        public string FinishReason => (string)Choice?["finish_reason"];

        /// <summary>Tokens of the prompt.</summary>
        public int PromptTokens => Tokens("prompt_tokens");

        /// <summary>Tokens of the answer.</summary>
        public int CompletionTokens => Tokens("completion_tokens");

        private int Tokens(string kind)
        {
            var count = Json["usage"]?[kind];
            return count == null ? 0 : (int)count;
        }

        /// <summary>The message to put into the next request, behind those of this one; of a chat.</summary>
        public Message ToMessage()
        {
            return Native.Message.FromJson((Message ?? throw new InvalidOperationException("no chat")).ToString());
        }

        /// <summary>The text.</summary>
        public override string ToString() => Text;
    }

    /// <summary>A piece of a transcript.</summary>
    public sealed class Segment
    {
        internal Segment(FluidEvent said)
        {
            Text = said.Text;
            Start = said.Start;
            End = said.End;
            Logprob = said.Logprob;
            Json = Json.Parse(said.Json);
        }

        /// <summary>What was said; it begins with a space where the language has them.</summary>
        public string Text { get; }

        /// <summary>Where it starts in the recording.</summary>
        public TimeSpan Start { get; }

        /// <summary>Where it ends in the recording.</summary>
        public TimeSpan End { get; }

        /// <summary>The average log-probability of its tokens.</summary>
        public float Logprob { get; }

        /// <summary>The segment as in OpenAI's "verbose_json"; with its words where they were asked for.</summary>
        public Json Json { get; }

        /// <summary>The text.</summary>
        public override string ToString() => Text;
    }

    /// <summary>What was said in a recording.</summary>
    public sealed class Transcript
    {
        private Transcript(string body, IReadOnlyList<Segment> segments)
        {
            Body = body;
            Segments = segments;
            if (body.StartsWith("{", StringComparison.Ordinal)) Json = TryParse(body);
        }

        /// <summary>From the result of a job, or the partial one of an error. It has no <see cref="Segments"/>.</summary>
        public static Transcript Parse(string result) => new Transcript(result, new Segment[0]);

        internal static Transcript Of(string result, IReadOnlyList<Segment> segments) => new Transcript(result, segments);

        /// A transcript as plain text may begin with a brace.
        private static Json TryParse(string body)
        {
            try
            {
                return Json.Parse(body);
            }
            catch (FormatException)
            {
                return null;
            }
        }

        /// <summary>What was asked for by <c>response_format</c>: JSON, text, SRT or WebVTT.</summary>
        public string Body { get; }

        /// <summary>The body, where it is JSON; else null.</summary>
        public Json Json { get; }

        /// <summary>The text; of subtitles, the body.</summary>
        public string Text => (string)Json?["text"] ?? Body;

        /// <summary>The segments with their times, in the order of the recording, whatever the format.</summary>
        public IReadOnlyList<Segment> Segments { get; }

        /// <summary>The text.</summary>
        public override string ToString() => Text;
    }

    /// <summary>Vectors of texts, in the order of the texts.</summary>
    public sealed class Embeddings
    {
        private readonly float[] values;

        internal Embeddings(float[] values, int count, int dimensions, Json json)
        {
            this.values = values;
            Count = count;
            Dimensions = dimensions;
            Json = json;
        }

        /// <summary>How many vectors there are.</summary>
        public int Count { get; }

        /// <summary>How many numbers each has.</summary>
        public int Dimensions { get; }

        /// <summary>OpenAI's object without the vectors: <c>model</c>, <c>usage</c>, <c>truncated</c>.</summary>
        public Json Json { get; }

        /// <summary>A copy of a text's vector.</summary>
        public float[] this[int index]
        {
            get
            {
                if (index < 0 || index >= Count) throw new ArgumentOutOfRangeException(nameof(index));
                var vector = new float[Dimensions];
                Array.Copy(values, index * Dimensions, vector, 0, Dimensions);
                return vector;
            }
        }

        /// <summary>The dot product of two of the vectors: their cosine, as they have the length 1 unless
        /// <c>normalize</c> was false.</summary>
        public double Similarity(int first, int second)
        {
            if (first < 0 || first >= Count) throw new ArgumentOutOfRangeException(nameof(first));
            if (second < 0 || second >= Count) throw new ArgumentOutOfRangeException(nameof(second));
            double sum = 0;
            for (var i = 0; i < Dimensions; i++)
                sum += (double)values[first * Dimensions + i] * values[second * Dimensions + i];
            return sum;
        }
    }
}
