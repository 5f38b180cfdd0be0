using System;
using Recoil;
using Recoil.Fake;
using Recoil.Testing;

public class KeyTests
{
    private static readonly byte[][] Strings =
    {
        new byte[0], new byte[] { 0 }, new byte[] { 0, 0 }, new byte[] { 0, 255 }, new byte[] { 1 }, new byte[] { 97 }, new byte[] { 97, 0 },
        new byte[] { 97, 98 }, new byte[] { 255 },
    };
    private static readonly long[] Numbers = { long.MinValue, -5, -1, 0, 1, 255, 256, long.MaxValue };

    [Test]
    public void KeysSortAsTheirPartsAndComeApartAgain()
    {
        byte[] before = null;
        foreach (byte[] text in Strings)
            foreach (long number in Numbers)
            {
                byte[] key = Key.Of('T').Bytes(text).Number(number).ToBytes();
                Assert.True(before == null || ByteOrder.Instance.Compare(before, key) < 0);
                before = key;
                KeyReader parts = Key.Read(key);
                Assert.Equal('T', parts.Kind());
                Assert.Equal(text, parts.Bytes());
                Assert.Equal(number, parts.Number());
                Assert.True(parts.IsAtEnd);
            }
    }

    [Test]
    public void WhatIsNoKeyIsRefused()
    {
        Assert.Throws<FormatException>(() => Key.Read(new byte[0]).Kind());
        Assert.Throws<FormatException>(() => Key.Read(new byte[] { 97, 0, 7 }).Bytes());
        Assert.Throws<FormatException>(() => Key.Read(new byte[] { 97 }).Bytes());
        Assert.Throws<FormatException>(() => Key.Read(new byte[] { 1, 2, 3 }).Number());
    }
}
