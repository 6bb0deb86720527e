"""
The SQL stores from inside.

``tables`` says what is stored, ``statements`` how it is read and written, ``database`` runs statements and keeps the promises about
durability and errors, ``migrations`` makes the tables. SQLAlchemy writes the SQL and keeps the connections; the statements are run on
the driver's own connection, because that is several times faster, and because an error of SQLAlchemy's carries the parameters.

The inbox has ``inbox_tables`` and ``inbox_statements``; ``ingest`` writes batches of arrivals, ``inbox`` does the rest, and ``turns`` lets the
threads of a process write to SQLite one after the other.
"""
