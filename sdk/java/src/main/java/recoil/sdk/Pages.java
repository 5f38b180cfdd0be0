package recoil.sdk;

import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;

/** Iterates over a range and fetches pages as it goes. */
final class Pages implements Iterator<Entry> {
    /** The first page is small, for those who look at the first entries only; pages then grow to the largest. */
    private static final int PAGE_ENTRIES_FIRST = 32;
    private static final int PAGE_ENTRIES_MAX = 1024;

    private final Storage storage;
    private final boolean reverse;
    private KeyRange rest;
    private List<Entry> page = List.of();
    private int next;
    private int pageEntries = PAGE_ENTRIES_FIRST;

    Pages(Storage storage, KeyRange within, boolean reverse) {
        this.storage = storage;
        this.rest = within;
        this.reverse = reverse;
    }

    @Override
    public boolean hasNext() {
        if (next == page.size() && rest != null) {
            fetch();
        }
        return next < page.size();
    }

    @Override
    public Entry next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        return page.get(next++);
    }

    private void fetch() {
        page = storage.scan(rest, pageEntries, reverse);
        next = 0;
        pageEntries = Math.min(pageEntries * 4, PAGE_ENTRIES_MAX);
        if (page.isEmpty()) {
            rest = null;
            return;
        }
        byte[] last = page.get(page.size() - 1).key();
        // Going up, the smallest key behind the last is the last and a zero.
        rest = reverse ? new KeyRange(rest.start(), last) : new KeyRange(Arrays.copyOf(last, last.length + 1), rest.end());
    }
}
