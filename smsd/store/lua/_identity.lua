-- _identity: which data this is, and whether a daemon has known newer.

-- Its id, the ids of the data that a person let it replace, and how many settlements it has seen.
local function identity()
  local found = redis.pcall('HMGET', STORE, 'id', 'replaces', 'settled')
  if found.err then return {'', '', 0} end
  local settled = string.match(found[3] or '', '^%d+$')
  return {found[1] or '', found[2] or '', settled and #settled <= 15 and tonumber(settled) or 0}
end

local function is_listed(id, ids) return string.find(',' .. ids .. ',', ',' .. id .. ',', 1, true) end

-- Whether the daemon has seen other data here, or newer: this may not know what was sent since.
local function is_older()
  if KNOWN_ID == '' then return false end
  local id, replaces, settled = unpack(identity())
  if id ~= KNOWN_ID then return not is_listed(KNOWN_ID, replaces) end
  return settled < tonumber(KNOWN_SETTLED)
end
