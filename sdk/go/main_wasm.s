// The compiler accepts main.main without a body because this file is here.
