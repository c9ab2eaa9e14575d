-- Log entries are dense already, and packing them would cost more time than it saves in space.
ALTER TABLE stream.log ALTER COLUMN payload SET STORAGE EXTERNAL;
