-- Redis' environment of scripts, as far as it can be said in Lua; the rest are functions of Rust, in `native`.
-- Runs once in a new engine. Libraries and _G are proxies: empty tables that show another one and refuse to be written.
local native = ...
local error, tostring, type, select, setmetatable, getmetatable, rawget, rawset, next, pairs, ipairs, pcall =
  error, tostring, type, select, setmetatable, getmetatable, rawget, rawset, next, pairs, ipairs, pcall
local setfenv, real = setfenv, _G
local behind = setmetatable({}, {__mode = 'k'}) -- a proxy, and what it stands for
local READONLY = 'Attempt to modify a readonly table'

local function refuse() error(READONLY, 2) end
local function protect(table, index)
  local proxy = {}
  behind[proxy] = table
  return setmetatable(proxy, {__index = index or table, __newindex = refuse})
end
local function unknown(_, name)
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end

-- Only these are left of Lua's own.
local kept = {}
for _, name in ipairs{'_VERSION', 'assert', 'collectgarbage', 'coroutine', 'error', 'gcinfo', 'getmetatable', 'ipairs', 'load',
  'loadstring', 'math', 'next', 'pairs', 'pcall', 'rawequal', 'rawget', 'rawset', 'select', 'setmetatable', 'string', 'table',
  'tonumber', 'tostring', 'type', 'unpack', 'xpcall'} do kept[name] = true end
local names = {}
for name in next, real do names[#names + 1] = name end
for _, name in ipairs(names) do if not kept[name] then rawset(real, name, nil) end end
real.string.dump = nil

-- What would see or change a proxy itself.
local raise = native.globals.error -- remembers where it was called
function real.rawset(table, key, value) if behind[table] then raise(READONLY, 0) end return rawset(table, key, value) end
function real.rawget(table, key) return rawget(behind[table] or table, key) end
local set_metatable = native.globals.setmetatable
function real.setmetatable(...) if behind[(...)] then raise(READONLY, 0) end return set_metatable(...) end
function real.getmetatable(...)
  local object = ...
  if select('#', ...) > 0 and (behind[object] or type(object) == 'string') then return protect(getmetatable(object)) end
  return getmetatable(...)
end
function real.pairs(...) local table = ... if behind[table] then return next, behind[table], nil end return pairs(...) end
function real.next(...) local table = ... if behind[table] then return next(behind[table], (select(2, ...))) end return next(...) end
local insert, unpack = real.table.insert, real.unpack
function real.table.insert(table, ...)
  local count = select('#', ...)
  if type(table) ~= 'table' then
    error("bad argument #1 to 'insert' (table expected, got " .. (table == nil and count == 0 and 'no value' or type(table)) .. ')', 2)
  end
  if behind[table] then error(READONLY, 2) end
  if count ~= 1 and count ~= 2 then error("wrong number of arguments to 'insert'", 2) end
  -- 5.1 takes any position.
  if count == 2 and type((...)) == 'number' then
    local at, size = (...), #table
    if at > size + 1 or at < 1 then table[at] = select(2, ...) return end
  end
  return insert(table, ...)
end
function real.unpack(list, first, last)
  if type(list) ~= 'table' then
    error("bad argument #1 to 'unpack' (table expected, got " .. (list == nil and 'no value' or type(list)) .. ')', 2)
  end
  if type(first) ~= 'string' and type(last) ~= 'string' and (last or #list) - (first or 1) >= 7999 then
    error('too many results to unpack', 2)
  end
  return unpack(list, first or 1, last or #list)
end

-- Redis gives pcall the text of an error, not its table.
local function caught(ok, ...)
  if not ok then
    local thrown = ...
    if type(thrown) == 'table' and type(thrown.err) == 'string' then return false, thrown.err end
  end
  return ok, ...
end
function real.pcall(...) return caught(pcall(...)) end

-- Functions of Rust take the place of Lua's, or are new.
for library, functions in next, native do
  if library ~= 'globals' and library ~= 'call' and library ~= 'registry' then
    local target = rawget(real, library) or {}
    for name, value in next, functions do target[name] = value end
    rawset(real, library, target)
  end
end
for name, value in next, native.globals do if name ~= 'setmetatable' then rawset(real, name, value) end end

-- What `redis` is for scripts, for functions, and while a library is loaded.
local redis = real.redis
local in_function, in_library = {}, {}
for name, value in next, redis do
  if name ~= 'breakpoint' and name ~= 'debug' and name ~= 'replicate_commands' then in_function[name] = value end
  if name == 'log' or type(value) ~= 'function' then in_library[name] = value end
end
in_library.register_function = native.registry.register_function
setmetatable(in_library, {__index = unknown})

for _, name in ipairs{'string', 'table', 'math', 'coroutine', 'bit', 'cjson', 'cmsgpack', 'struct'} do
  rawset(real, name, protect(rawget(real, name)))
end
local proxies = {script = protect(redis), ['function'] = protect(in_function)}
local library = setmetatable({redis = protect(in_library)}, {__index = unknown})
setmetatable(real, {__index = unknown})
local shown = {__index = real, __newindex = refuse}
local env = setmetatable({}, shown)
behind[env] = real
real._G = env
setfenv(0, env)

-- Called before each run: which `redis` there is, and what its calls reach.
return function(mode, call, protected_call, keys, arguments)
  if mode == 'library' then shown.__index = library return end
  shown.__index = real
  rawset(real, 'redis', proxies[mode])
  local target = mode == 'script' and redis or in_function
  target.call, target.pcall = call, protected_call
  rawset(real, 'KEYS', keys)
  rawset(real, 'ARGV', arguments)
end
