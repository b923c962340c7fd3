// Streams the answers of a chat to the terminal. Ctrl-C ends an answer, an empty line the program.
//
//     Chat MODEL.gguf ["question"]

using System;
using System.Collections.Generic;
using System.Text;
using System.Threading;
using Fluid.Native;

static class Chat
{
    static int Main(string[] arguments)
    {
        if (arguments.Length < 1)
        {
            Console.Error.WriteLine("usage: Chat MODEL.gguf [\"question\"]");
            return 2;
        }
        try
        {
            using (var engine = new Engine())
            using (var model = engine.LoadModel(arguments[0], null, ShowLoading))
            {
                var messages = new List<Message> { Message.System("You answer in one or two sentences.") };
                if (arguments.Length > 1) Answer(model, messages, arguments[1]);
                else while (Ask(out var question)) Answer(model, messages, question);
            }
            return 0;
        }
        catch (FluidException e)
        {
            Console.Error.WriteLine(e.Message);
            return 1;
        }
    }

    static bool ShowLoading(FluidEvent said)
    {
        if (said.Kind == FluidEventKind.Progress) Console.Error.Write($"\rloading {said.Progress:P0} ");
        return true;
    }

    static bool Ask(out string question)
    {
        Console.Write("\n> ");
        question = Console.ReadLine();
        return !string.IsNullOrEmpty(question);
    }

    static void Answer(Model model, List<Message> messages, string question)
    {
        messages.Add(Message.User(question));
        var request = new Request(messages) { ["max_tokens"] = 256, ["temperature"] = 0.2 };
        var answer = new StringBuilder();
        using (var interrupt = new CancellationTokenSource())
        {
            ConsoleCancelEventHandler stop = (_, pressed) =>
            {
                pressed.Cancel = true;
                interrupt.Cancel();
            };
            Console.CancelKeyPress += stop;
            try
            {
                foreach (var piece in model.Stream(request, interrupt.Token))
                {
                    Console.Write(piece);
                    answer.Append(piece);
                }
            }
            catch (OperationCanceledException)
            {
                Console.Write(" [stopped]");
            }
            Console.CancelKeyPress -= stop;
        }
        Console.WriteLine();
        messages.Add(Message.Assistant(answer.ToString()));
    }
}
