-- _last_ids: a stream takes no more entries behind the last id there is. Only other hands make such.
-- include: fields
local EXHAUSTED = 'can take no more entries, since its last id is the largest there is'

-- No range can begin behind the last id. Those near it leave no room.
local LAST_ID = '18446744073709551615-18446744073709551615'
local FIRST_SPENT = '18446744073709551615-10000000000000000000'
local function is_spent(id) return #id == #LAST_ID and string.sub(id, 1, 21) == string.sub(LAST_ID, 1, 21) end

local function last_id_of(stream) return field_of(redis.call('XINFO', 'STREAM', stream), 'last-generated-id') end

local function are_ids_spent(stream)
  return redis.call('EXISTS', stream) == 1 and is_spent(last_id_of(stream))
end
