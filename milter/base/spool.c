/* spool */
#include "relaypool.h"
