// The structs of fluid.h, and the shapes of its functions: every argument is blittable, so nothing is marshalled.

using System;
using System.Runtime.InteropServices;

namespace Fluid.Native.Interop
{
    /// `fluid_event`
    [StructLayout(LayoutKind.Sequential)]
    internal unsafe struct NativeEvent
    {
        internal uint StructSize;
        internal int Kind;
        internal int Status;
        internal int Choice;
        internal int Token;
        internal float Logprob;
        internal byte* Text;
        internal UIntPtr TextLength;
        internal byte* Json;
        internal UIntPtr JsonLength;
        internal double Start;
        internal double End;
        internal double Progress;
        internal double Elapsed;
        internal double Age;
    }

    /// `fluid_audio`
    [StructLayout(LayoutKind.Sequential)]
    internal unsafe struct NativeAudio
    {
        internal uint StructSize;
        internal int Kind;
        internal void* Data;
        internal UIntPtr Bytes;
        internal uint Rate;
        internal uint Channels;
    }

    /// `fluid_log_fn`
    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate void NativeLog(int level, IntPtr line, IntPtr userData);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate uint NumberShape();

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate IntPtr StaticTextShape();

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate IntPtr StatusNameShape(int status);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate void StringFreeShape(IntPtr text);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate int HandleShape(IntPtr handle);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate int MakeShape(out IntPtr result);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate int MakeWithTextShape(IntPtr json, out IntPtr result);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate int AskShape(IntPtr handle, out IntPtr result);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate int AskWithTextShape(IntPtr handle, IntPtr text, out IntPtr result);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate int AskWithTwoTextsShape(IntPtr handle, IntPtr first, IntPtr second, out IntPtr result);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal unsafe delegate int TranscribeShape(IntPtr model, NativeAudio* audio, IntPtr json, out IntPtr job);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate int JobNextShape(IntPtr job, int timeoutMs, out IntPtr nativeEvent);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate int JobFloatsShape(IntPtr job, out IntPtr data, out UIntPtr count, out UIntPtr dimensions);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate int JobAttachShape(IntPtr job, IntPtr queue);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate int QueueNextShape(IntPtr queue, int timeoutMs, out IntPtr job, out IntPtr nativeEvent);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate int LogSetShape(IntPtr callback, IntPtr userData, int level);
}
