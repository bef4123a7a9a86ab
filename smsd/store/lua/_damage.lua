-- _damage: what cannot be used is named before anything is written.

local KIND = {
  [QUEUE] = 'stream', [HIGH] = 'stream', [DEFERRED] = 'zset', [MESSAGES] = 'hash', [INFLIGHT] = 'hash',
  [DEAD] = 'stream', [EVENTS] = 'stream', [COUNTERS] = 'hash', [OPTOUTS] = 'set', [LEASE] = 'string', [INTAKE] = 'hash',
  [STORE] = 'hash',
}

-- What a `pcall` caught, as an error to reply.
local function failure(reason) return type(reason) == 'table' and reason or redis.error_reply(reason) end

-- A command that Redis refuses and will refuse again: smsd/redis/errors.py reads key and reason.
local function refuse(key, reason) error({err = 'DAMAGED ' .. key .. ': ' .. reason}) end

-- Why a key cannot be used as what it is for, or nil.
local function wrong_type(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= kind then return 'is a ' .. found .. ', not a ' .. kind end
end

-- Refuse if one of these keys has a wrong type. Each is looked at once, whatever the number of requests.
local sound = {}
local function need(...)
  for _, key in ipairs({...}) do
    if not sound[key] then
      local reason = wrong_type(key, KIND[key])
      if reason then refuse(key, reason) end
      sound[key] = true
    end
  end
end

local function need_type(key, kind)
  local reason = wrong_type(key, kind)
  if reason then refuse(key, reason) end
end

local function need_hash(key) need_type(key, 'hash') end
