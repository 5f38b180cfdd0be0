#error threads are not supported: an instance answers one call at a time; recoil_call_many and recoil_submit overlap calls
