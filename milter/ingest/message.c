/* message */
#include "relaypool.h"
