-- _campaign: what scripts know of a campaign. Its keys are not among KEYS: only the ids of messages say which there are.

local PREFIX = string.sub(QUEUE, 1, -6)

local met = {} -- campaigns by id; false where there is none

-- What becomes of all without a message, where none is made any more.
local function ending_of(state, expires_at)
  if state == 'cancelled' then return 'cancelled' end
  return expires_at and expires_at <= tonumber(NOW) and 'expired' or nil
end

local function campaign_named(name)
  if met[name] == nil then
    local key = PREFIX .. 'campaign:' .. name
    local found = redis.pcall('HMGET', key, 'state', 'key', 'created', 'rest', 'at', 'expires_at')
    local first, second = string.match(found[2] or '', '^(%d+) (%d+)$')
    met[name] = found[1] and first and {
      name = name, key = key, state = found[1], factors = {tonumber(first), tonumber(second)},
      created = tonumber(found[3]) or 0, rest = found[4] or 'unexpanded', at = tonumber(found[5]) or 0, moved = {},
      ending = found[4] or ending_of(found[1], tonumber(found[6])),
    }
  end
  return met[name] or nil
end
