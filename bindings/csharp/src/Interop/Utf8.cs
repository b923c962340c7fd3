// Texts to C and from C. netstandard2.0 cannot marshal UTF-8, so it is done here for every target.

using System;
using System.Text;

namespace Fluid.Native.Interop
{
    internal static unsafe class Utf8
    {
        /// A caller's name or path, where C would take it as it stands.
        internal static string Checked(string text, string parameter)
        {
            if (text == null) throw new ArgumentNullException(parameter);
            if (text.IndexOf('\0') >= 0)
                throw new ArgumentException("the text holds a NUL character, where C would end it", parameter);
            return text;
        }

        /// `text`, which holds no NUL, with one behind it; null for null. Half a surrogate pair becomes U+FFFD.
        internal static byte[] Bytes(string text)
        {
            if (text == null) return null;
            var bytes = new byte[Encoding.UTF8.GetByteCount(text) + 1];
            Encoding.UTF8.GetBytes(text, 0, text.Length, bytes, 0);
            return bytes;
        }

        internal static string Read(byte* text, UIntPtr length)
        {
            return length == UIntPtr.Zero ? "" : Encoding.UTF8.GetString(text, checked((int)length));
        }

        /// Up to the NUL; empty for a null pointer.
        internal static string Read(IntPtr text)
        {
            var at = (byte*)text;
            if (at == null) return "";
            var length = 0;
            while (at[length] != 0) length++;
            return length == 0 ? "" : Encoding.UTF8.GetString(at, length);
        }

        /// A string that the library gave away, which is freed.
        internal static string Take(IntPtr text)
        {
            try
            {
                return Read(text);
            }
            finally
            {
                NativeMethods.fluid_string_free(text);
            }
        }
    }
}
