#nullable enable
using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;
using Recoil;

namespace Conformance
{
    /// <summary>A request's items, taken one after another.</summary>
    public sealed class Arguments
    {
        private static readonly UTF8Encoding Strict = new UTF8Encoding(false, throwOnInvalidBytes: true);

        private readonly List<byte[]> items;
        private int next;

        public Arguments(byte[] request) => items = Wire.Decode(request);

        public byte[] Bytes() => next < items.Count ? items[next++] : throw Refusal.Invalid("too few arguments");

        public string Text()
        {
            try
            {
                return Strict.GetString(Bytes());
            }
            catch (DecoderFallbackException)
            {
                throw Refusal.Invalid("a text that is not UTF-8");
            }
        }

        /// <summary>A whole number from 0 to <paramref name="limit"/>.</summary>
        public long Number(long limit)
        {
            string text = Text();
            if (long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long number) && number <= limit) return number;
            throw Refusal.Invalid($"'{text}' is no number from 0 to {limit}");
        }

        public int Count() => (int)Number(int.MaxValue);

        public TimeSpan Milliseconds() => TimeSpan.FromMilliseconds(Count());

        public bool Truth()
        {
            string text = Text();
            switch (text)
            {
                case "true": return true;
                case "false": return false;
                default: throw Refusal.Invalid($"'{text}' is neither true nor false");
            }
        }

        /// <summary>One of the names of an enumeration, as the contract writes them.</summary>
        public T Name<T>() where T : struct, Enum
        {
            string text = Text();
            foreach (T value in (T[])Enum.GetValues(typeof(T)))
                if (Wire.Kebab(value.ToString()) == text) return value;
            throw Refusal.Invalid($"'{text}' is no {typeof(T).Name}");
        }

        /// <summary>The value of an option; null for none.</summary>
        public byte[]? Option()
        {
            byte[] option = Bytes();
            if (option.Length == 0) return null;
            if (option[0] != '+') throw Refusal.Invalid("an option is empty or begins with +");
            return option.AsSpan(1).ToArray();
        }

        public KeyRange Range() => new KeyRange(Bytes(), Option());

        /// <summary>All that are left.</summary>
        public List<byte[]> Rest()
        {
            List<byte[]> rest = items.GetRange(next, items.Count - next);
            next = items.Count;
            return rest;
        }

        /// <summary>All that are left, two by two.</summary>
        public List<Entry> Pairs()
        {
            var pairs = new List<Entry>();
            while (next < items.Count) pairs.Add(new Entry(Bytes(), Bytes()));
            return pairs;
        }
    }
}
