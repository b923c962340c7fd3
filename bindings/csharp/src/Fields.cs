// What is passed as JSON: options, requests and messages, with whatever fields the library knows.

using System;
using System.Collections;
using System.Collections.Generic;
using Fluid.Native.Interop;

namespace Fluid.Native
{
    /// <summary>
    /// Fields by name, which become a JSON object. Values are null, bool, string, numbers, <see cref="Json"/>, lists and
    /// dictionaries of these, or other <see cref="Fields"/>; what else is put in is an
    /// <see cref="ArgumentException"/> when it is used.
    /// </summary>
    public abstract class Fields : IEnumerable<KeyValuePair<string, object>>
    {
        private readonly Dictionary<string, object> values = new Dictionary<string, object>();

        internal Fields() { }

        /// <summary>The field's value; reading one that is not set gives null.</summary>
        public object this[string field]
        {
            get => values.TryGetValue(field, out var value) ? value : null;
            set => values[field] = value;
        }

        /// <summary>Sets a field.</summary>
        public void Add(string field, object value) => values[field] = value;

        /// <summary>The fields in the order they were set.</summary>
        public IEnumerator<KeyValuePair<string, object>> GetEnumerator() => values.GetEnumerator();

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

        /// <summary>The JSON object.</summary>
        public override string ToString() => JsonWriter.Write(this);

        internal void AddAll(string json)
        {
            AddAll(Json.Parse(json));
        }

        internal void AddAll(Json json)
        {
            if (!(json.Value is Dictionary<string, Json> members)) throw new FormatException("not a JSON object");
            foreach (var member in members) values[member.Key] = member.Value;
        }

        internal void AddAll(Fields other)
        {
            if (other == null) return;
            foreach (var field in other.values) values[field.Key] = field.Value;
        }
    }

    /// <summary>
    /// Options of an engine, a load, a download, a transcription and the like, by the names that fluid.h gives them:
    /// <code>
    /// new Options { ["n_ctx"] = 4096, ["device"] = "GPU" }
    /// </code>
    /// </summary>
    public sealed class Options : Fields
    {
        /// <summary>Options from a JSON object.</summary>
        /// <exception cref="FormatException">It is none.</exception>
        public static Options FromJson(string json)
        {
            var options = new Options();
            options.AddAll(json);
            return options;
        }
    }

    /// <summary>
    /// What a model is asked: a prompt or messages, and any field of OpenAI's chat completions and of fluid.h.
    /// A string is a prompt, an array of messages a chat:
    /// <code>
    /// new Request(Message.User("Why is the sky blue?")) { ["max_tokens"] = 256, ["temperature"] = 0.2 }
    /// </code>
    /// </summary>
    public sealed class Request : Fields
    {
        /// <summary>A request without fields yet.</summary>
        public Request() { }

        /// <summary>A text to go on from, as it stands.</summary>
        public Request(string prompt)
        {
            this["prompt"] = prompt ?? throw new ArgumentNullException(nameof(prompt));
        }

        /// <summary>A chat.</summary>
        public Request(params Message[] messages) : this((IEnumerable<Message>)messages) { }

        /// <summary>A chat. The messages are read when the request is used.</summary>
        public Request(IEnumerable<Message> messages)
        {
            this["messages"] = messages ?? throw new ArgumentNullException(nameof(messages));
        }

        /// <summary>A request from a JSON object.</summary>
        /// <exception cref="FormatException">It is none.</exception>
        public static Request FromJson(string json)
        {
            var request = new Request();
            request.AddAll(json);
            return request;
        }

        /// <summary>A text to go on from, as it stands.</summary>
        public static implicit operator Request(string prompt) => new Request(prompt);

        /// <summary>A chat.</summary>
        public static implicit operator Request(Message[] messages) => new Request(messages);

        /// <summary>A chat.</summary>
        public static implicit operator Request(List<Message> messages) => new Request(messages);
    }

    /// <summary>A message of a chat. Further fields, such as <c>name</c>, are set as those of a request.</summary>
    public sealed class Message : Fields
    {
        /// <summary>A message: <paramref name="role"/> is "system", "user", "assistant" or "tool".</summary>
        public Message(string role, string content)
        {
            this["role"] = role;
            this["content"] = content;
        }

        private Message() { }

        /// <summary>A message from a JSON object, such as one with calls of tools.</summary>
        /// <exception cref="FormatException">It is none.</exception>
        public static Message FromJson(string json)
        {
            var message = new Message();
            message.AddAll(json);
            return message;
        }

        /// <summary>What the model is told of its task.</summary>
        public static Message System(string content) => new Message("system", content);

        /// <summary>What the user says.</summary>
        public static Message User(string content) => new Message("user", content);

        /// <summary>What the model said.</summary>
        public static Message Assistant(string content) => new Message("assistant", content);

        /// <summary>What a tool returned for the call of that id.</summary>
        public static Message Tool(string callId, string content) =>
            new Message("tool", content) { ["tool_call_id"] = callId };
    }
}
